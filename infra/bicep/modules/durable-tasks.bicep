// Where orchestrations keep their state.

import { roleIds } from 'role-ids.bicep'

param name string
param location string
param tags object
@description('Must equal extensions.durableTask.hubName of host.json.')
param hubName string
@allowed(['Consumption', 'Dedicated'])
param skuName string
@description('Capacity units of the Dedicated SKU; three make it highly available.')
param capacity int
param publicAccess bool
param functionsPrincipalId string
@description('Days that finished orchestrations are kept; the app itself purges sooner.')
param retentionDays int

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: skuName == 'Dedicated' ? { name: skuName, capacity: capacity } : { name: skuName }
    // An empty list would shut everybody out; who gets in is decided by identity.
    ipAllowlist: ['0.0.0.0/0']
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: hubName
}

resource retention 'Microsoft.DurableTask/schedulers/retentionPolicies@2026-02-01' = {
  parent: scheduler
  name: 'default'
  properties: {
    retentionPolicies: [
      { retentionPeriodInDays: retentionDays }
    ]
  }
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, functionsPrincipalId, roleIds.durableTaskDataContributor)
  properties: {
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.durableTaskDataContributor
    )
  }
}

output id string = scheduler.id
output endpoint string = scheduler.properties.endpoint
