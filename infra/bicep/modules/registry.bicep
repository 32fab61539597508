// The worker's images.

import { roleIds } from 'role-ids.bicep'

param name string
param location string
param tags object
param pullPrincipalId string
@description('Premium has private endpoints, Basic is cheapest.')
@allowed(['Basic', 'Standard', 'Premium'])
param skuName string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: skuName }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    // Images are built by the registry's own build service, which comes from outside of any network of ours.
    publicNetworkAccess: 'Enabled'
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, pullPrincipalId, roleIds.acrPull)
  properties: {
    principalId: pullPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds.acrPull)
  }
}

output id string = registry.id
output loginServer string = registry.properties.loginServer
