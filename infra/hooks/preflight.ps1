# Before anything is made: says what is missing in the subscription, one sentence each, and how to mend it.
# Looks only; changes nothing. SKIP_PREFLIGHT=true leaves it out. preflight.sh does the same elsewhere.

if ($env:SKIP_PREFLIGHT -eq 'true') { exit 0 }

$script:missing = 0
function Say([string]$sentence) {
    [Console]::Error.WriteLine("preflight: $sentence")
    $script:missing++
}
function Setting([string]$name, [string]$default) {
    $value = [Environment]::GetEnvironmentVariable($name)
    if ([string]::IsNullOrEmpty($value)) { $default } else { $value }
}

if (-not (Get-Command az -ErrorAction SilentlyContinue)) {
    Say 'The Azure CLI is not installed; see https://aka.ms/azure-cli, or skip this with SKIP_PREFLIGHT=true.'
    exit 1
}

$subscription = Setting 'AZURE_SUBSCRIPTION_ID' ''
$location = Setting 'AZURE_LOCATION' ''
$modelLocation = Setting 'AZURE_MODEL_LOCATION' 'swedencentral'
$sku = Setting 'MODEL_SKU' 'GlobalStandard'
$usesScheduler = (Setting 'DURABLE_BACKEND' 'durableTaskScheduler') -eq 'durableTaskScheduler'

$signedIn = az account show --query id -o tsv 2>$null
if ($LASTEXITCODE -ne 0) {
    Say 'The Azure CLI is not signed in: az login.'
    exit 1
}
if ($subscription -and $signedIn -ne $subscription) {
    Say "The Azure CLI is signed in to another subscription: az account set --subscription $subscription."
    exit 1
}
if (-not $subscription) { $subscription = $signedIn }

# --- resource providers -------------------------------------------------------------------------
$providers = @('Microsoft.App', 'Microsoft.Authorization', 'Microsoft.Cache', 'Microsoft.CognitiveServices',
    'Microsoft.ContainerRegistry', 'Microsoft.Insights', 'Microsoft.KeyVault', 'Microsoft.ManagedIdentity',
    'Microsoft.OperationalInsights', 'Microsoft.Storage', 'Microsoft.Web')
if ($usesScheduler) { $providers += 'Microsoft.DurableTask' }
if ((Setting 'ENABLE_ACS' 'false') -eq 'true') { $providers += 'Microsoft.Communication', 'Microsoft.EventGrid' }
if ((Setting 'PRIVATE_NETWORKING' 'false') -eq 'true') { $providers += 'Microsoft.Network' }
$registered = az provider list --query "[?registrationState=='Registered'].namespace" -o tsv
foreach ($provider in $providers) {
    if ($registered -notcontains $provider) {
        Say "The resource provider $provider is not registered: az provider register --namespace $provider --wait."
    }
}

# --- who deploys --------------------------------------------------------------------------------
$principal = Setting 'AZURE_PRINCIPAL_ID' ''
$roles = $null
if ($principal) {
    $roles = az role assignment list --assignee $principal --scope "/subscriptions/$subscription" `
        --include-inherited --include-groups --query '[].roleDefinitionName' -o tsv 2>$null
}
# Not everybody may read who has which role; then the deployment itself will tell.
if ($principal -and $LASTEXITCODE -eq 0) {
    if (-not ($roles | Where-Object { $_ -in 'Owner', 'Contributor' })) {
        Say 'The deploying identity may not create resources: give it the role Contributor on the subscription.'
    }
    if (-not ($roles | Where-Object { $_ -in 'Owner', 'User Access Administrator', 'Role Based Access Control Administrator' })) {
        Say 'The deploying identity may not assign roles: give it the role Role Based Access Control Administrator on the subscription.'
    }
}

# --- regions ------------------------------------------------------------------------------------
if ($location) {
    if (-not (az functionapp list-flexconsumption-locations --query "[?name=='$location'].name" -o tsv)) {
        Say "Functions Flex Consumption is not offered in ${location}: azd env set AZURE_LOCATION to a region that az functionapp list-flexconsumption-locations names."
    }
    if ($usesScheduler) {
        $shown = az account list-locations --query "[?name=='$location'].displayName" -o tsv
        $offered = az provider show --namespace Microsoft.DurableTask `
            --query "resourceTypes[?resourceType=='schedulers'].locations[]" -o tsv 2>$null
        if ($offered -notcontains $shown) {
            Say "Durable Task Scheduler is not offered in ${location}: choose another region, or azd env set DURABLE_BACKEND storage."
        }
    }
}

# --- models and their quota ---------------------------------------------------------------------
function Test-Model([string]$name, [string]$version, [int]$wanted) {
    if (-not $name) { return }
    $offered = az cognitiveservices model list --location $modelLocation `
        --query "[?model.name=='$name' && model.version=='$version' && model.skus[?name=='$sku']].model.name" -o tsv
    if (-not $offered) {
        Say "The model $name ($version, $sku) is not offered in ${modelLocation}: choose AZURE_MODEL_LOCATION, or another name and version, with azd env set."
        return
    }
    $quota = az cognitiveservices usage list --location $modelLocation `
        --query "[?name.value=='OpenAI.$sku.$name'].[limit, currentValue]" -o tsv | Select-Object -First 1
    if (-not $quota) { return }
    $limit, $used = $quota -split '\s+'
    if ([double]$limit - [double]$used -ge $wanted) { return }
    $ours = az cognitiveservices account list --query "[?tags.`"azd-env-name`"=='$env:AZURE_ENV_NAME'].name" -o tsv
    if ($ours) { return }
    Say "The quota for $name in $modelLocation is used up ($wanted thousand tokens a minute are wanted): ask for more in the Foundry portal, or lower its capacity."
}
Test-Model (Setting 'REALTIME_MODEL_NAME' 'gpt-realtime-2.1') (Setting 'REALTIME_MODEL_VERSION' '2026-07-07') (Setting 'REALTIME_MODEL_CAPACITY' '10')
Test-Model (Setting 'TRANSCRIPTION_MODEL_NAME' 'gpt-4o-mini-transcribe') (Setting 'TRANSCRIPTION_MODEL_VERSION' '2025-12-15') (Setting 'TRANSCRIPTION_MODEL_CAPACITY' '10')
Test-Model (Setting 'CHAT_MODEL_NAME' '') (Setting 'CHAT_MODEL_VERSION' '') (Setting 'CHAT_MODEL_CAPACITY' '10')

if ($script:missing -gt 0) {
    [Console]::Error.WriteLine('preflight: nothing was made. SKIP_PREFLIGHT=true leaves these checks out.')
    exit 1
}
Write-Output 'preflight: nothing is missing'
