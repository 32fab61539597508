// Storage for the Functions host: the deployed package, its locks, and events that nobody took.

import { roleIds } from 'role-ids.bicep'

param name string
param location string
param tags object
param functionsPrincipalId string
@description('Copies in several zones.')
param zoneRedundant bool
param publicAccess bool

var packageContainerName = 'app-package'
var deadLetterContainerName = 'dead-letters'
var functionsRoles = [
  roleIds.storageBlobDataOwner
  roleIds.storageQueueDataContributor
  roleIds.storageTableDataContributor
]

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    // Event Grid writes dead letters with an identity of its own, from outside of any network of ours.
    networkAcls: {
      defaultAction: publicAccess ? 'Allow' : 'Deny'
      bypass: 'AzureServices'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = [
  for containerName in [packageContainerName, deadLetterContainerName]: {
    parent: blobs
    name: containerName
    properties: { publicAccess: 'None' }
  }
]

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for roleId in functionsRoles: {
    scope: account
    name: guid(account.id, functionsPrincipalId, roleId)
    properties: {
      principalId: functionsPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleId)
    }
  }
]

output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
output packageContainerUrl string = '${account.properties.primaryEndpoints.blob}${packageContainerName}'
output deadLetterContainerName string = deadLetterContainerName
