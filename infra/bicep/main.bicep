// Sidetone in one resource group. What each part is for stands at the top of its module.

targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the environment; the resource group and the tags carry it.')
param environmentName string

@description('Region of everything but the models.')
@metadata({ azd: { type: 'location' } })
param location string

@description('Region of the models. The realtime ones are in few.')
@allowed(['eastus2', 'swedencentral'])
param modelLocation string = 'swedencentral'

@description('Who deploys: may store secrets in the vault, and use the models. Empty: nobody but the services.')
param principalId string = ''
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

@description('Further tags for every resource.')
param extraTags object = {}

// Models: name, version, and thousands of tokens a minute. An empty name: none.
param realtimeModelName string = 'gpt-realtime-2.1'
param realtimeModelVersion string = '2026-07-07'
param realtimeModelCapacity int = 10
param transcriptionModelName string = 'gpt-4o-mini-transcribe'
param transcriptionModelVersion string = '2025-12-15'
param transcriptionModelCapacity int = 10
param chatModelName string = ''
param chatModelVersion string = ''
param chatModelCapacity int = 10
param modelSku string = 'GlobalStandard'

@description('Phone calls by Azure Communication Services, which takes no new customers.')
param enableAcs bool = false
param acsDataLocation string = 'Europe'
@description('The number that calls out show, as +15550199.')
param acsPhoneNumber string = ''
@description('A place of our own for recordings of phone calls, where an agent records; else the service keeps them for a day.')
param acsRecordings bool = false
param acsRecordingRetentionDays int = 30

@description('Storage, Redis, the vault and orchestrations are reached by private addresses only.')
param privateNetworking bool = false
@description('The models too: no browser and no SIP trunk reaches them then, only workers do.')
param privateModels bool = false
param networkPrefix string = '10.73.0.0/24'

@description('Zones and replicas wherever there are any; two workers at least.')
param highAvailability bool = false
@description('The vault cannot be purged for 90 days, and so outlives the environment.')
param purgeProtection bool = false

@description('Where orchestrations keep their state.')
@allowed(['durableTaskScheduler', 'storage'])
param durableBackend string = 'durableTaskScheduler'
@allowed(['Consumption', 'Dedicated'])
param durableSku string = 'Consumption'
@description('Size of Redis. With high availability, B1 or more.')
param redisSku string = 'Balanced_B1'

@allowed(['3.11', '3.12', '3.13'])
param functionsPythonVersion string = '3.12'
param functionsMemoryMB int = 2048
param functionsMaximumInstances int = 100
@description('Origins whose pages may call the API, with commas between them.')
param corsOrigins string = ''
@description('Applications and operators sign in with Entra ID: the client id of the app registration. Empty: function keys.')
param entraClientId string = ''

@description('What tools and servers of the agents read, in both planes: NAME=value;NAME=value. Secrets belong into the vault.')
param agentSettings string = ''

param workerCpu string = '1.0'
param workerMemory string = '2Gi'
param workerMaxReplicas int = 10
@description('Calls a replica.')
param workerMaxSessions int = 100
@description('Room that is kept free for calls which start while a replica does.')
param workerSpareSessions int = 20
@description('How long a stopping replica keeps the calls whose audio it carries.')
@minValue(0)
@maxValue(585)
param workerDrainSeconds int = 540
@description('Set by azd: whether the worker has been deployed before.')
param workerExists bool = false

@description('Share of traces that are kept.')
param telemetrySamplingRatio string = '1.0'
param logRetentionDays int = 30
param alertEmail string = ''
@description('Where docs/operations.md is to be read; alerts link there.')
param runbooksUrl string = 'docs/operations.md'

// The one rule of names: what it is, and a token of subscription, environment and region.
var token = toLower(uniqueString(subscription().id, environmentName, location))
var names = {
  alerts: 'sidetone-${environmentName}'
  communication: 'acs-${token}'
  component: 'appi-${token}'
  containers: 'cae-${token}'
  durableTasks: 'dts-${token}'
  functions: 'func-${token}'
  functionsIdentity: 'id-functions-${token}'
  functionsPlan: 'plan-${token}'
  incomingCalls: 'evgt-${token}'
  model: 'ai-${token}'
  network: 'vnet-${token}'
  recordings: 'strec${token}'
  redis: 'redis-${token}'
  registry: 'cr${token}'
  storage: 'st${token}'
  vault: 'kv-${token}'
  worker: 'ca-worker-${token}'
  workerIdentity: 'id-worker-${token}'
  workspace: 'log-${token}'
}
var tags = union(extraTags, { 'azd-env-name': environmentName })
var zones = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  redis: 'privatelink.redis.azure.net'
  vault: 'privatelink.vaultcore.azure.net'
  durableTasks: 'privatelink.durabletask.io'
  model: 'privatelink.openai.azure.com'
}
var usesScheduler = durableBackend == 'durableTaskScheduler'
var keepsRecordings = enableAcs && acsRecordings
var modelsArePrivate = privateNetworking && privateModels
// As in host.json.
var hubName = 'sidetone'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module functionsIdentity 'modules/identity.bicep' = {
  scope: group
  name: 'functions-identity'
  params: { name: names.functionsIdentity, location: location, tags: tags }
}

module workerIdentity 'modules/identity.bicep' = {
  scope: group
  name: 'worker-identity'
  params: { name: names.workerIdentity, location: location, tags: tags }
}

var servicePrincipalIds = [
  functionsIdentity.outputs.principalId
  workerIdentity.outputs.principalId
]

module telemetry 'modules/telemetry.bicep' = {
  scope: group
  name: 'telemetry'
  params: {
    workspaceName: names.workspace
    componentName: names.component
    location: location
    tags: tags
    publisherPrincipalIds: servicePrincipalIds
    retentionDays: logRetentionDays
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  scope: group
  name: 'network'
  params: {
    name: names.network
    location: location
    tags: tags
    addressPrefix: networkPrefix
    zoneNames: map(items(zones), zone => zone.value)
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  name: 'storage'
  params: {
    name: names.storage
    location: location
    tags: tags
    functionsPrincipalId: functionsIdentity.outputs.principalId
    zoneRedundant: highAvailability
    publicAccess: !privateNetworking
  }
}

module redis 'modules/redis.bicep' = {
  scope: group
  name: 'redis'
  params: {
    name: names.redis
    location: location
    tags: tags
    skuName: redisSku
    highAvailability: highAvailability
    publicAccess: !privateNetworking
    users: {
      functions: functionsIdentity.outputs.principalId
      worker: workerIdentity.outputs.principalId
    }
  }
}

var modelDeployments = [
  {
    name: realtimeModelName
    model: realtimeModelName
    version: realtimeModelVersion
    sku: modelSku
    capacity: realtimeModelCapacity
  }
  {
    name: transcriptionModelName
    model: transcriptionModelName
    version: transcriptionModelVersion
    sku: modelSku
    capacity: transcriptionModelCapacity
  }
  {
    name: chatModelName
    model: chatModelName
    version: chatModelVersion
    sku: modelSku
    capacity: chatModelCapacity
  }
]

module model 'modules/model.bicep' = {
  scope: group
  name: 'model'
  params: {
    name: names.model
    location: modelLocation
    tags: tags
    publicAccess: !modelsArePrivate
    userPrincipalIds: servicePrincipalIds
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
    deployments: filter(modelDeployments, deployment => !empty(deployment.name))
  }
}

module vault 'modules/key-vault.bicep' = {
  scope: group
  name: 'key-vault'
  params: {
    name: names.vault
    location: location
    tags: tags
    publicAccess: !privateNetworking
    purgeProtection: purgeProtection
    readerPrincipalIds: servicePrincipalIds
    writerPrincipalId: principalId
    writerPrincipalType: principalType
  }
}

module durableTasks 'modules/durable-tasks.bicep' = if (usesScheduler) {
  scope: group
  name: 'durable-tasks'
  params: {
    name: names.durableTasks
    location: location
    tags: tags
    hubName: hubName
    skuName: durableSku
    capacity: highAvailability ? 3 : 1
    publicAccess: !privateNetworking
    functionsPrincipalId: functionsIdentity.outputs.principalId
    retentionDays: 30
  }
}

module registry 'modules/registry.bicep' = {
  scope: group
  name: 'registry'
  params: {
    name: names.registry
    location: location
    tags: tags
    pullPrincipalId: workerIdentity.outputs.principalId
    skuName: privateNetworking ? 'Premium' : 'Basic'
  }
}

// What is reached by private addresses, and by which of its parts.
var privateParts = concat(
  [
    { name: 'blob', type: 'Microsoft.Storage/storageAccounts', service: names.storage, zone: zones.blob }
    { name: 'queue', type: 'Microsoft.Storage/storageAccounts', service: names.storage, zone: zones.queue }
    { name: 'table', type: 'Microsoft.Storage/storageAccounts', service: names.storage, zone: zones.table }
    { name: 'redisEnterprise', type: 'Microsoft.Cache/redisEnterprise', service: names.redis, zone: zones.redis }
    { name: 'vault', type: 'Microsoft.KeyVault/vaults', service: names.vault, zone: zones.vault }
  ],
  usesScheduler
    ? [
        {
          name: 'scheduler'
          type: 'Microsoft.DurableTask/schedulers'
          service: names.durableTasks
          zone: zones.durableTasks
        }
      ]
    : [],
  modelsArePrivate
    ? [
        {
          name: 'account'
          type: 'Microsoft.CognitiveServices/accounts'
          service: names.model
          zone: zones.model
        }
      ]
    : []
)

module privateEndpoints 'modules/private-endpoint.bicep' = [
  for part in (privateNetworking ? privateParts : []): {
    scope: group
    name: 'private-${part.name}'
    params: {
      name: 'pe-${part.name}-${token}'
      location: location
      tags: tags
      subnetId: network!.outputs.endpointsSubnetId
      serviceId: resourceId(subscription().subscriptionId, group.name, part.type, part.service)
      part: part.name
      zoneName: part.zone
    }
    dependsOn: [storage, redis, vault, durableTasks, model]
  }
]

module containers 'modules/container-environment.bicep' = {
  scope: group
  name: 'container-environment'
  params: {
    name: names.containers
    location: location
    tags: tags
    subnetId: privateNetworking ? network!.outputs.workersSubnetId : ''
    zoneRedundant: highAvailability
    workspaceId: telemetry.outputs.workspaceId
  }
}

module communication 'modules/communication.bicep' = if (enableAcs) {
  scope: group
  name: 'communication'
  params: {
    name: names.communication
    topicName: names.incomingCalls
    tags: tags
    dataLocation: acsDataLocation
    userPrincipalIds: servicePrincipalIds
    storageName: names.storage
    deadLetterContainerName: storage.outputs.deadLetterContainerName
  }
}

module recordings 'modules/recordings.bicep' = if (keepsRecordings) {
  scope: group
  name: 'recordings'
  params: {
    name: names.recordings
    location: location
    tags: tags
    zoneRedundant: highAvailability
    writerPrincipalId: communication!.outputs.principalId
    retentionDays: acsRecordingRetentionDays
  }
}

var workerDomain = '${names.worker}.${containers.outputs.defaultDomain}'
var functionsUrl = 'https://${names.functions}.azurewebsites.net'

// Settings of the product (shared/settings.py), by plane. What has a fitting default is not repeated.
var commonSettings = union(
  {
    APPLICATIONINSIGHTS_CONNECTION_STRING: telemetry.outputs.target
    AZURE_OPENAI_ENDPOINT: model.outputs.endpoint
    KEY_VAULT_URL: vault.outputs.url
    REALTIME_MODEL: realtimeModelName
    REDIS_URL: redis.outputs.url
    TELEMETRY_SAMPLING_RATIO: telemetrySamplingRatio
    TRANSCRIPTION_MODEL: transcriptionModelName
  },
  enableAcs
    ? {
        ACS_ENDPOINT: communication!.outputs.endpoint
        ACS_RESOURCE_ID: communication!.outputs.immutableResourceId
      }
    : {}
)

var controlPlaneSettings = union(
  commonSettings,
  {
    API_AUTH: empty(entraClientId) ? 'function_key' : 'easy_auth'
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${functionsIdentity.outputs.clientId}'
    MCP_ALLOWED_ORIGINS: corsOrigins
  },
  enableAcs
    ? {
        ACS_CALLBACK_URL: functionsUrl
        ACS_PHONE_NUMBER: acsPhoneNumber
        MEDIA_STREAM_URL: 'wss://${workerDomain}'
      }
    : {},
  keepsRecordings ? { ACS_RECORDING_CONTAINER: recordings!.outputs.containerUrl } : {}
)

var workerSettings = union(commonSettings, {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${workerIdentity.outputs.clientId}'
  CONTROL_PLANE_URL: functionsUrl
  SPARE_SESSIONS: string(workerSpareSessions)
})

// Settings of the platform: who the process is, and what the Functions host and Durable need.
var functionsHostSettings = union(
  {
    AZURE_CLIENT_ID: functionsIdentity.outputs.clientId
    AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
    AzureWebJobsStorage__queueServiceUri: storage.outputs.queueEndpoint
    AzureWebJobsStorage__tableServiceUri: storage.outputs.tableEndpoint
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: functionsIdentity.outputs.clientId
  },
  usesScheduler
    ? {
        DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${durableTasks!.outputs.endpoint};TaskHub=${hubName};Authentication=ManagedIdentity;ClientID=${functionsIdentity.outputs.clientId}'
      }
    : {
        // Instead of what host.json says; the provider knows its connection by an old name and a new one.
        AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'AzureStorage'
        AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionName: 'AzureWebJobsStorage'
        AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'AzureWebJobsStorage'
      }
)

var workerHostSettings = {
  AZURE_CLIENT_ID: workerIdentity.outputs.clientId
}

// Of the agents. The example team's appointments lie in a file of each process: data of a demonstration.
var agentVariables = union(
  { MEMBER_SERVICES_DB: '/tmp/member_services.sqlite' },
  toObject(
    filter(split(agentSettings, ';'), pair => contains(pair, '=')),
    pair => first(split(pair, '=')),
    pair => join(skip(split(pair, '='), 1), '=')
  )
)

// Before the first deployment there is no image of ours.
var firstImage = 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'

module runningImage 'modules/running-image.bicep' = if (workerExists) {
  scope: group
  name: 'running-image'
  params: { appName: names.worker }
}

module worker 'modules/worker.bicep' = {
  scope: group
  name: 'worker'
  params: {
    name: names.worker
    location: location
    tags: tags
    environmentId: containers.outputs.id
    defaultDomain: containers.outputs.defaultDomain
    identityId: workerIdentity.outputs.id
    registryServer: registry.outputs.loginServer
    image: workerExists ? runningImage!.outputs.image : firstImage
    settings: union(agentVariables, workerSettings, workerHostSettings)
    scaleKeyUrl: vault.outputs.scaleKeyUrl
    cpu: workerCpu
    memory: workerMemory
    minReplicas: highAvailability ? 2 : 1
    maxReplicas: workerMaxReplicas
    maxSessions: workerMaxSessions
    drainSeconds: workerDrainSeconds
  }
  dependsOn: [privateEndpoints]
}

module functions 'modules/functions.bicep' = {
  scope: group
  name: 'functions'
  params: {
    name: names.functions
    planName: names.functionsPlan
    location: location
    tags: tags
    identityId: functionsIdentity.outputs.id
    settings: union(agentVariables, controlPlaneSettings, functionsHostSettings)
    packageContainerUrl: storage.outputs.packageContainerUrl
    pythonVersion: functionsPythonVersion
    instanceMemoryMB: functionsMemoryMB
    maximumInstanceCount: functionsMaximumInstances
    // A ringing call waits for nobody's cold start.
    alwaysReady: concat(
      [
        { name: 'http', instanceCount: highAvailability ? 2 : 1 }
        { name: 'durable', instanceCount: highAvailability ? 2 : 1 }
      ],
      enableAcs ? [{ name: 'function:incoming_call', instanceCount: 1 }] : []
    )
    entraClientId: entraClientId
    corsOrigins: empty(corsOrigins) ? [] : split(corsOrigins, ',')
    subnetId: privateNetworking ? network!.outputs.functionsSubnetId : ''
    zoneRedundant: highAvailability
  }
  dependsOn: [privateEndpoints]
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    prefix: names.alerts
    workspaceId: telemetry.outputs.workspaceId
    emailAddress: alertEmail
    runbooksUrl: runbooksUrl
    redisId: redis.outputs.id
    workerId: worker.outputs.id
    maxReplicas: workerMaxReplicas
    topicId: enableAcs ? communication!.outputs.topicId : ''
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  name: 'workbook'
  params: {
    location: location
    tags: tags
    displayName: 'Sidetone ${environmentName}'
    componentId: telemetry.outputs.componentId
  }
}

// What azd and the hooks go on with. Nothing here is secret.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.loginServer
output AZURE_KEY_VAULT_NAME string = names.vault
output AZURE_OPENAI_ENDPOINT string = model.outputs.endpoint
output FUNCTIONS_NAME string = functions.outputs.name
output FUNCTIONS_URL string = functionsUrl
output WORKER_NAME string = worker.outputs.name
output WORKER_URL string = 'https://${workerDomain}'
output STORAGE_ACCOUNT_NAME string = names.storage
output INCOMING_CALLS_TOPIC string = enableAcs ? names.incomingCalls : ''
