// Telephone calls by Azure Communication Services, and the topic on which it tells of incoming ones.

import { roleIds } from 'role-ids.bicep'

param name string
param topicName string
param tags object
@description('Where the service keeps its data, as Europe or United States.')
param dataLocation string
@description('Principals that control calls.')
param userPrincipalIds array
param storageName string
param deadLetterContainerName string

resource service 'Microsoft.Communication/communicationServices@2026-03-18' = {
  name: name
  location: 'global'
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    dataLocation: dataLocation
    disableLocalAuth: true
  }
}

resource users 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in userPrincipalIds: {
    scope: service
    name: guid(service.id, principalId, roleIds.communicationAndEmailServiceOwner)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(
        'Microsoft.Authorization/roleDefinitions',
        roleIds.communicationAndEmailServiceOwner
      )
    }
  }
]

// Its subscription can only be made when the function exists: incoming-call.bicep, after the deployment.
resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: topicName
  location: 'global'
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: service.id
    topicType: 'Microsoft.Communication.CommunicationServices'
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageName

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource deadLetters 'containers' existing = {
      name: deadLetterContainerName
    }
  }
}

resource deadLetterWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage::blobs::deadLetters
  name: guid(storage::blobs::deadLetters.id, topic.id, roleIds.storageBlobDataContributor)
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roleIds.storageBlobDataContributor
    )
  }
}

output endpoint string = 'https://${service.properties.hostName}'
output immutableResourceId string = service.properties.immutableResourceId
output principalId string = service.identity.principalId
output topicId string = topic.id
