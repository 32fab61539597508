# After a deployment, what can only follow it; each step looks first, so that it may run any number of times:
# the subscription to incoming calls, the realtime service's webhook with its secret in the vault, and
# whether the app is ready. after_deploy.sh does the same elsewhere.

$script:failed = 0
function Tell([string]$sentence) { Write-Output "after deploy: $sentence" }
function Complain([string]$sentence) {
    [Console]::Error.WriteLine("after deploy: $sentence")
    $script:failed = 1
}

foreach ($name in 'AZURE_RESOURCE_GROUP', 'FUNCTIONS_NAME', 'FUNCTIONS_URL', 'AZURE_KEY_VAULT_NAME', 'AZURE_OPENAI_ENDPOINT') {
    if (-not [Environment]::GetEnvironmentVariable($name)) {
        Complain "${name}: run azd provision first"
        exit 1
    }
}

# --- incoming calls of Communication Services ----------------------------------------------------
if ($env:INCOMING_CALLS_TOPIC) {
    az deployment group create --resource-group $env:AZURE_RESOURCE_GROUP --name incoming-call `
        --template-file "$PSScriptRoot/../bicep/incoming-call.bicep" --output none `
        --parameters topicName=$env:INCOMING_CALLS_TOPIC functionAppName=$env:FUNCTIONS_NAME `
        storageAccountName=$env:STORAGE_ACCOUNT_NAME
    if ($LASTEXITCODE -eq 0) {
        Tell 'incoming calls reach the function incoming_call'
    } else {
        Complain 'Event Grid could not be told where incoming calls go: run azd hooks run postdeploy again.'
    }
}

# --- the realtime service's webhook, for calls by SIP --------------------------------------------
$secretName = 'realtime-webhook-secrets'
$endpoints = "$env:AZURE_OPENAI_ENDPOINT/openai/v1/dashboard/webhook_endpoints"
$webhook = "$env:FUNCTIONS_URL/api/v1/webhooks/realtime"
$audience = 'https://cognitiveservices.azure.com'

function Register-Webhook {
    # Without its secret an endpoint is of no use: the service shows it once, when it is made.
    $old = az rest --resource $audience --method get --url $endpoints --query "data[?url=='$webhook'].id" --output tsv
    foreach ($id in $old) {
        az rest --resource $audience --method delete --url "$endpoints/$id" --output none
        if ($LASTEXITCODE -ne 0) { return $false }
    }
    $bodyFile = New-TemporaryFile
    $secretFile = New-TemporaryFile
    try {
        $body = @{ name = 'sidetone'; url = $webhook; event_types = @('realtime.call.incoming') } | ConvertTo-Json -Compress
        [IO.File]::WriteAllText($bodyFile, $body)
        $secret = az rest --resource $audience --method post --url $endpoints --query signing_secret --output tsv --body "@$bodyFile"
        if (-not $secret) { return $false }
        # By file, not as an argument, which every process of the machine could read.
        [IO.File]::WriteAllText($secretFile, $secret.Trim())
        az keyvault secret set --vault-name $env:AZURE_KEY_VAULT_NAME --name $secretName `
            --file "$secretFile" --encoding utf-8 --output none
        return $LASTEXITCODE -eq 0
    } finally {
        Remove-Item $bodyFile, $secretFile -Force
    }
}

if ($env:REALTIME_WEBHOOK -ne 'false') {
    $known = az keyvault secret list --vault-name $env:AZURE_KEY_VAULT_NAME --query "[?name=='$secretName'].name" --output tsv
    if ($LASTEXITCODE -ne 0) {
        Complain "The vault $env:AZURE_KEY_VAULT_NAME cannot be read from here: deploy from inside of its network, and as somebody with the role Key Vault Secrets Officer."
    } elseif ($known) {
        Tell 'the realtime webhook is registered'
    } elseif (Register-Webhook) {
        Tell 'the realtime webhook is registered, and its secret is in the vault'
        # Settings are read at the start.
        az functionapp restart --resource-group $env:AZURE_RESOURCE_GROUP --name $env:FUNCTIONS_NAME --output none
        if ($LASTEXITCODE -ne 0) {
            Complain "The Functions app could not be restarted: do so, that it reads the webhook's secret."
        }
    } else {
        Complain 'The realtime webhook could not be registered, so calls by SIP are not answered: see docs/deploy.md, or azd env set REALTIME_WEBHOOK false.'
    }
}

# --- is it ready? --------------------------------------------------------------------------------
$attempts = if ($env:READY_ATTEMPTS) { [int]$env:READY_ATTEMPTS } else { 30 }
$pause = if ($env:READY_PAUSE_S) { [int]$env:READY_PAUSE_S } else { 10 }
while ($true) {
    try {
        $answer = Invoke-WebRequest -Uri "$env:FUNCTIONS_URL/api/v1/ready" -TimeoutSec 20 -SkipHttpErrorCheck
        $status = [int]$answer.StatusCode
        $said = "$($answer.Content)"
    } catch {
        $status = 0
        $said = $_.Exception.Message
    }
    $attempts--
    if ($status -eq 200 -or $attempts -le 0) { break }
    # Roles that were just given take some minutes to be known everywhere.
    Start-Sleep -Seconds $pause
}
if ($status -eq 200) {
    Tell "ready: $env:FUNCTIONS_URL"
} else {
    Complain "The app is not ready; it says: $said (docs/operations.md tells what each code means)."
}
exit $script:failed
