// Redis holds the live sessions: nothing is evicted, and only identities get in.

param name string
param location string
param tags object
@description('Size and tier, as Balanced_B1.')
param skuName string
param highAvailability bool
param publicAccess bool
@description('Service name to principal: who may read and write.')
param users object

resource cluster 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: skuName }
  properties: {
    highAvailability: highAvailability ? 'Enabled' : 'Disabled'
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: cluster
  name: 'default'
  properties: {
    accessKeysAuthentication: 'Disabled'
    clientProtocol: 'Encrypted'
    // The client is a plain one, and the store's scripts touch several keys.
    clusteringPolicy: 'NoCluster'
    evictionPolicy: 'NoEviction'
    port: 10000
    // Beside the replica, for the day on which both are gone.
    persistence: highAvailability ? { aofEnabled: true, aofFrequency: '1s' } : null
  }
}

// The service takes one change at a time.
@batchSize(1)
resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = [
  for user in items(users): {
    parent: database
    name: user.key
    properties: {
      accessPolicyName: 'default'
      user: { objectId: user.value }
    }
  }
]

output id string = cluster.id
output url string = 'rediss://${cluster.properties.hostName}:${database.properties.port}'
