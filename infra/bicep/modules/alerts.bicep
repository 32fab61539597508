// What wakes somebody up. Each alert names the page that says what to do.

param location string
param tags object
param prefix string
param workspaceId string
@description('Who is told; empty: the alerts are only shown in the portal.')
param emailAddress string
@description('Where the runbooks are; each alert\'s anchor is put behind it.')
param runbooksUrl string
param redisId string
param workerId string
param maxReplicas int
@description('System topic of incoming calls; empty: none.')
param topicId string

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${prefix}-people'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'sidetone'
    emailReceivers: empty(emailAddress)
      ? []
      : [{ name: 'people', emailAddress: emailAddress, useCommonAlertSchema: true }]
  }
}

// severity: 0 calls are failing now, 1 some are, 2 they soon will, 3 worth a look in the morning.
var logAlerts = [
  {
    name: 'calls-refused'
    severity: 1
    minutes: 5
    threshold: 0
    summary: 'Calls are refused because no worker has room.'
    query: 'AppMetrics | where Name == "sidetone.requests.refused" and tostring(Properties["error.type"]) in ("no_capacity", "no_room") | summarize value = sum(Sum)'
  }
  {
    name: 'model-at-its-limit'
    severity: 1
    minutes: 5
    threshold: 5
    summary: 'The model service refuses requests: the quota of its deployment is used up.'
    query: 'AppMetrics | where (Name == "sidetone.provider.errors" or Name == "sidetone.requests.refused") and tostring(Properties["error.type"]) in ("provider_rate_limited", "rate_limit_exceeded") | summarize value = sum(Sum)'
  }
  {
    name: 'model-fails'
    severity: 0
    minutes: 5
    threshold: 5
    summary: 'The model service fails, or refuses this deployment\'s identity or configuration.'
    query: 'AppMetrics | where (Name == "sidetone.provider.errors" or Name == "sidetone.requests.refused") and tostring(Properties["error.type"]) in ("provider_unavailable", "provider_unauthorized", "provider_rejected") | summarize value = sum(Sum)'
  }
  {
    name: 'answers-are-slow'
    severity: 2
    minutes: 15
    threshold: 3
    summary: 'Callers wait more than three seconds for the first sound of an answer, on average.'
    query: 'AppMetrics | where Name == "gen_ai.client.operation.time_to_first_chunk" | summarize value = sum(Sum) / sum(ItemCount)'
  }
  {
    name: 'workers-die'
    severity: 1
    minutes: 15
    threshold: 5
    summary: 'Leases lapse: workers die or freeze, and others take their calls over.'
    query: 'AppTraces | where Message == "lease lapsed" | summarize value = todouble(count())'
  }
  {
    name: 'worker-is-broken'
    severity: 1
    minutes: 5
    threshold: 0
    summary: 'A worker\'s standing work broke and began anew: a fault that nobody foresaw.'
    query: 'union AppTraces, AppExceptions | where Message == "standing work broke" or OuterMessage == "standing work broke" or Message == "session runner broke" or OuterMessage == "session runner broke" | summarize value = todouble(count())'
  }
  {
    name: 'redis-does-not-answer'
    severity: 0
    minutes: 5
    threshold: 0
    summary: 'Redis does not answer, or has no memory left: tools wait, and no call starts.'
    query: 'AppTraces | where tostring(Properties["code"]) in ("redis_unavailable", "redis_full") | summarize value = todouble(count())'
  }
  {
    name: 'control-plane-unreachable'
    severity: 1
    minutes: 10
    threshold: 0
    summary: 'Workers cannot reach the Functions app: durable tools and ends of calls wait.'
    query: 'AppTraces | where Message == "control plane unreachable" or Message == "message could not be delivered" | summarize value = todouble(count())'
  }
  {
    name: 'requests-fail'
    severity: 1
    minutes: 5
    threshold: 5
    summary: 'The Functions app answers requests with server errors.'
    query: 'AppRequests | where Success == false and toint(ResultCode) >= 500 | summarize value = todouble(count())'
  }
  {
    name: 'phone-calls-fail'
    severity: 0
    minutes: 5
    threshold: 0
    summary: 'Phone calls ring and cannot be taken.'
    query: 'AppTraces | where Message in ("inbound_call_failed", "event_dropped") | summarize value = todouble(count())'
  }
]

resource logRules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in logAlerts: {
    name: '${prefix}-${alert.name}'
    location: location
    tags: tags
    properties: {
      displayName: '${prefix}: ${alert.name}'
      description: '${alert.summary} What to do: ${runbooksUrl}#${alert.name}'
      severity: alert.severity
      enabled: true
      scopes: [workspaceId]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT${alert.minutes}M'
      autoMitigate: true
      // The tables come into being with the first data.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: alert.query
            metricMeasureColumn: 'value'
            timeAggregation: 'Maximum'
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: {
        actionGroups: [people.id]
        customProperties: { runbook: '${runbooksUrl}#${alert.name}' }
      }
    }
  }
]

var metricAlerts = concat(
  [
    {
      name: 'redis-fills-up'
      severity: 2
      summary: 'Redis uses more than 80 % of its memory; full, it refuses writes.'
      scope: redisId
      namespace: 'Microsoft.Cache/redisEnterprise'
      metric: 'usedmemorypercentage'
      aggregation: 'Maximum'
      operator: 'GreaterThan'
      threshold: 80
    }
    {
      name: 'no-worker'
      severity: 0
      summary: 'No worker runs: no call can start or go on.'
      scope: workerId
      namespace: 'Microsoft.App/containerApps'
      metric: 'Replicas'
      aggregation: 'Maximum'
      operator: 'LessThan'
      threshold: 1
    }
    {
      name: 'workers-at-their-limit'
      severity: 2
      summary: 'As many workers run as are allowed: there will be no room for more calls.'
      scope: workerId
      namespace: 'Microsoft.App/containerApps'
      metric: 'Replicas'
      aggregation: 'Maximum'
      operator: 'GreaterThanOrEqual'
      threshold: maxReplicas
    }
    {
      name: 'workers-restart'
      severity: 2
      summary: 'Worker containers restart again and again.'
      scope: workerId
      namespace: 'Microsoft.App/containerApps'
      metric: 'RestartCount'
      aggregation: 'Maximum'
      operator: 'GreaterThan'
      threshold: 2
    }
  ],
  empty(topicId)
    ? []
    : [
        {
          name: 'calls-not-taken'
          severity: 1
          summary: 'Event Grid gave up telling of incoming calls; they lie in the dead-letter container.'
          scope: topicId
          namespace: 'Microsoft.EventGrid/systemTopics'
          metric: 'DeadLetteredCount'
          aggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
)

resource metricRules 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in metricAlerts: {
    name: '${prefix}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: '${alert.summary} What to do: ${runbooksUrl}#${alert.name}'
      severity: alert.severity
      enabled: true
      scopes: [alert.scope]
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: alert.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: alert.namespace
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: alert.operator
            threshold: alert.threshold
            // Of a topic that has never told of a call there are no figures yet.
            skipMetricValidation: true
          }
        ]
      }
      actions: [
        { actionGroupId: people.id, webHookProperties: { runbook: '${runbooksUrl}#${alert.name}' } }
      ]
    }
  }
]
