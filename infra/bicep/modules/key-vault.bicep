// The few secrets there are: keys of our own, made here once and never shown.

import { roleIds } from 'role-ids.bicep'

param name string
param location string
param tags object
param publicAccess bool
@description('Deleted secrets cannot be purged before their time; then the vault outlives the environment.')
param purgeProtection bool
param readerPrincipalIds array
@description('Who deploys, and stores the realtime webhook\'s secret. Empty: nobody.')
param writerPrincipalId string
param writerPrincipalType string
// Random at every deployment, and used at the first.
@secure()
param signingKeySeed string = newGuid()
@secure()
param signingKeyMoreSeed string = newGuid()
@secure()
param scaleKeySeed string = newGuid()

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: {
      defaultAction: publicAccess ? 'Allow' : 'Deny'
      bypass: 'AzureServices'
    }
  }
}

// Signs the tokens of clients, workers and carriers. Another deployment leaves it as it is.
@onlyIfNotExists()
resource signingKeys 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: 'signing-keys'
  properties: { value: 'k1:${base64('${signingKeySeed}${signingKeyMoreSeed}')}' }
}

// What the scaler shows when it asks the workers how much room is wanted.
@onlyIfNotExists()
resource scaleKey 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: 'scale-key'
  properties: { value: base64(scaleKeySeed) }
}

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in readerPrincipalIds: {
    scope: vault
    name: guid(vault.id, principalId, roleIds.keyVaultSecretsUser)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(
        'Microsoft.Authorization/roleDefinitions',
        roleIds.keyVaultSecretsUser
      )
    }
  }
]

resource writer 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(writerPrincipalId)) {
  scope: vault
  name: guid(vault.id, writerPrincipalId, roleIds.keyVaultSecretsOfficer)
  properties: {
    principalId: writerPrincipalId
    principalType: writerPrincipalType
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.keyVaultSecretsOfficer
    )
  }
}

output id string = vault.id
output url string = 'https://${name}${environment().suffixes.keyvaultDns}'
output scaleKeyUrl string = 'https://${name}${environment().suffixes.keyvaultDns}/secrets/${scaleKey.name}'
