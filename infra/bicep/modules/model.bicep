// The model service and its deployments.

import { roleIds } from 'role-ids.bicep'

@description('One deployment of a model. capacity: thousands of tokens a minute.')
type deploymentType = {
  name: string
  model: string
  version: string
  sku: string
  capacity: int
}

param name string
param location string
param tags object
param publicAccess bool
param userPrincipalIds array
@description('Who deploys, and registers the realtime webhook. Empty: nobody.')
param deployerPrincipalId string
param deployerPrincipalType string
param deployments deploymentType[]

resource account 'Microsoft.CognitiveServices/accounts@2026-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'AIServices'
  sku: { name: 'S0' }
  properties: {
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: { defaultAction: publicAccess ? 'Allow' : 'Deny' }
  }
}

// The service takes one change at a time.
@batchSize(1)
resource models 'Microsoft.CognitiveServices/accounts/deployments@2026-05-01' = [
  for deployment in deployments: {
    parent: account
    name: deployment.name
    sku: { name: deployment.sku, capacity: deployment.capacity }
    properties: {
      model: { format: 'OpenAI', name: deployment.model, version: deployment.version }
      // A model that changes by itself changes how agents talk.
      versionUpgradeOption: 'NoAutoUpgrade'
    }
  }
]

resource users 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in userPrincipalIds: {
    scope: account
    name: guid(account.id, principalId, roleIds.cognitiveServicesOpenAIUser)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(
        'Microsoft.Authorization/roleDefinitions',
        roleIds.cognitiveServicesOpenAIUser
      )
    }
  }
]

resource deployer 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  scope: account
  name: guid(account.id, deployerPrincipalId, roleIds.cognitiveServicesOpenAIUser)
  properties: {
    principalId: deployerPrincipalId
    principalType: deployerPrincipalType
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.cognitiveServicesOpenAIUser
    )
  }
}

output id string = account.id
output endpoint string = 'https://${name}.openai.azure.com'
