// The data plane: holds one WebSocket a call.

param name string
param location string
param tags object
param environmentId string
@description('Domain of the environment, under which the app is found.')
param defaultDomain string
param identityId string
param registryServer string
param image string
@description('Environment variables.')
param settings object
@description('Where the vault keeps the scaler\'s key.')
param scaleKeyUrl string
@description('A number of cores, as 1.0, and the memory that goes with it.')
param cpu string
param memory string
param minReplicas int
param maxReplicas int
@description('Calls a replica: what it admits, and what the scaler counts with.')
param maxSessions int
@description('How long a stopping replica keeps calls that cannot move.')
@maxValue(585)
param drainSeconds int

// After its drain a worker waits for the next owners, and closes what it holds.
var closingSeconds = 15
var port = 8080

resource app 'Microsoft.App/containerApps@2025-07-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'worker' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        // Carriers open their media sockets here, and the scaler asks here how much room is wanted.
        external: true
        targetPort: port
        transport: 'http'
        allowInsecure: false
      }
      registries: [{ server: registryServer, identity: identityId }]
      secrets: [{ name: 'scale-key', keyVaultUrl: scaleKeyUrl, identity: identityId }]
    }
    template: {
      terminationGracePeriodSeconds: drainSeconds + closingSeconds
      containers: [
        {
          name: 'worker'
          image: image
          resources: { cpu: json(cpu), memory: memory }
          env: [
            for setting in items(union(settings, {
              DRAIN_S: string(drainSeconds)
              MAX_SESSIONS: string(maxSessions)
              WORKER_PORT: string(port)
            })): {
              name: setting.key
              value: setting.value
            }
          ]
          probes: [
            {
              type: 'Startup'
              httpGet: { path: '/health', port: port }
              periodSeconds: 5
              failureThreshold: 10
              initialDelaySeconds: 5
            }
            {
              type: 'Liveness'
              httpGet: { path: '/health', port: port }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 6
            }
            {
              type: 'Readiness'
              httpGet: { path: '/ready', port: port }
              periodSeconds: 5
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        pollingInterval: 10
        cooldownPeriod: 300
        rules: [
          {
            name: 'wanted-sessions'
            custom: {
              type: 'metrics-api'
              metadata: {
                url: 'https://${name}.${defaultDomain}/load'
                valueLocation: 'wanted'
                targetValue: string(maxSessions)
                authMode: 'apiKey'
                method: 'header'
                keyParamName: 'x-scale-key'
              }
              auth: [{ secretRef: 'scale-key', triggerParameter: 'apiKey' }]
            }
          }
        ]
      }
    }
  }
}

output id string = app.id
output name string = app.name
