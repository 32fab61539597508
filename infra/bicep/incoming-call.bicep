// Event Grid tells the function of each incoming call. A deployment of its own: the function must exist.

targetScope = 'resourceGroup'

@description('Name of the system topic of Communication Services.')
param topicName string
param functionAppName string
param storageAccountName string
param deadLetterContainerName string = 'dead-letters'

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource functions 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName
}

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageAccountName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'incoming-call'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: { includedEventTypes: ['Microsoft.Communication.IncomingCall'] }
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${functions.id}/functions/incoming_call'
        maxEventsPerBatch: 1
      }
    }
    // A call rings for half a minute: later there is nobody to answer.
    retryPolicy: {
      maxDeliveryAttempts: 2
      eventTimeToLiveInMinutes: 1
    }
    deadLetterWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storage.id
          blobContainerName: deadLetterContainerName
        }
      }
    }
  }
}
