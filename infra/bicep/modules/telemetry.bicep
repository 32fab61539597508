// Where traces, metrics and logs go. Only identities with the publisher's role may send.

import { roleIds } from 'role-ids.bicep'

param workspaceName string
param componentName string
param location string
param tags object
@description('Principals of the services that send telemetry.')
param publisherPrincipalIds array
@minValue(30)
@maxValue(730)
param retentionDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    features: { disableLocalAuth: true }
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: componentName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource publishers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in publisherPrincipalIds: {
    scope: component
    name: guid(component.id, principalId, roleIds.monitoringMetricsPublisher)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(
        'Microsoft.Authorization/roleDefinitions',
        roleIds.monitoringMetricsPublisher
      )
    }
  }
]

output workspaceId string = workspace.id
output componentId string = component.id
// Addresses only: with local authentication off, its instrumentation key opens nothing.
output target string = component.properties.ConnectionString
