#!/bin/sh
# Before anything is made: says what is missing in the subscription, one sentence each, and how to mend it.
# Looks only; changes nothing. SKIP_PREFLIGHT=true leaves it out. preflight.ps1 does the same on Windows.
set -u

[ "${SKIP_PREFLIGHT:-false}" = true ] && exit 0

missing=0
say() {
    echo "preflight: $*" >&2
    missing=$((missing + 1))
}

command -v az >/dev/null 2>&1 || {
    say "The Azure CLI is not installed; see https://aka.ms/azure-cli, or skip this with SKIP_PREFLIGHT=true."
    exit 1
}

subscription=${AZURE_SUBSCRIPTION_ID:-}
location=${AZURE_LOCATION:-}
model_location=${AZURE_MODEL_LOCATION:-swedencentral}
sku=${MODEL_SKU:-GlobalStandard}

if ! signed_in=$(az account show --query id -o tsv 2>/dev/null); then
    say "The Azure CLI is not signed in: az login."
    exit 1
fi
if [ -n "$subscription" ] && [ "$signed_in" != "$subscription" ]; then
    say "The Azure CLI is signed in to another subscription: az account set --subscription $subscription."
    exit 1
fi
[ -n "$subscription" ] || subscription=$signed_in

# --- resource providers -------------------------------------------------------------------------
providers="Microsoft.App Microsoft.Authorization Microsoft.Cache Microsoft.CognitiveServices \
Microsoft.ContainerRegistry Microsoft.Insights Microsoft.KeyVault Microsoft.ManagedIdentity \
Microsoft.OperationalInsights Microsoft.Storage Microsoft.Web"
[ "${DURABLE_BACKEND:-durableTaskScheduler}" = durableTaskScheduler ] && providers="$providers Microsoft.DurableTask"
[ "${ENABLE_ACS:-false}" = true ] && providers="$providers Microsoft.Communication Microsoft.EventGrid"
[ "${PRIVATE_NETWORKING:-false}" = true ] && providers="$providers Microsoft.Network"
registered=$(az provider list --query "[?registrationState=='Registered'].namespace" -o tsv | tr '[:upper:]' '[:lower:]')
for provider in $providers; do
    echo "$registered" | grep -qx "$(echo "$provider" | tr '[:upper:]' '[:lower:]')" ||
        say "The resource provider $provider is not registered: az provider register --namespace $provider --wait."
done

# --- who deploys --------------------------------------------------------------------------------
principal=${AZURE_PRINCIPAL_ID:-}
# Not everybody may read who has which role; then the deployment itself will tell.
if [ -n "$principal" ] && roles=$(az role assignment list --assignee "$principal" \
    --scope "/subscriptions/$subscription" --include-inherited --include-groups \
    --query '[].roleDefinitionName' -o tsv 2>/dev/null); then
    echo "$roles" | grep -qxE 'Owner|Contributor' ||
        say "The deploying identity may not create resources: give it the role Contributor on the subscription."
    echo "$roles" | grep -qxE 'Owner|User Access Administrator|Role Based Access Control Administrator' ||
        say "The deploying identity may not assign roles: give it the role Role Based Access Control Administrator on the subscription."
fi

# --- regions ------------------------------------------------------------------------------------
if [ -n "$location" ]; then
    [ -n "$(az functionapp list-flexconsumption-locations --query "[?name=='$location'].name" -o tsv)" ] ||
        say "Functions Flex Consumption is not offered in $location: azd env set AZURE_LOCATION to a region that az functionapp list-flexconsumption-locations names."
    if [ "${DURABLE_BACKEND:-durableTaskScheduler}" = durableTaskScheduler ]; then
        shown=$(az account list-locations --query "[?name=='$location'].displayName" -o tsv)
        az provider show --namespace Microsoft.DurableTask \
            --query "resourceTypes[?resourceType=='schedulers'].locations[]" -o tsv 2>/dev/null | grep -qx "$shown" ||
            say "Durable Task Scheduler is not offered in $location: choose another region, or azd env set DURABLE_BACKEND storage."
    fi
fi

# --- models and their quota ---------------------------------------------------------------------
check_model() { # name, version, thousands of tokens a minute
    [ -n "$1" ] || return 0
    offered=$(az cognitiveservices model list --location "$model_location" \
        --query "[?model.name=='$1' && model.version=='$2' && model.skus[?name=='$sku']].model.name" -o tsv | head -n 1)
    if [ -z "$offered" ]; then
        say "The model $1 ($2, $sku) is not offered in $model_location: choose AZURE_MODEL_LOCATION, or another name and version, with azd env set."
        return
    fi
    quota=$(az cognitiveservices usage list --location "$model_location" \
        --query "[?name.value=='OpenAI.$sku.$1'].[limit, currentValue]" -o tsv | head -n 1)
    [ -n "$quota" ] || return 0
    echo "$quota" | awk -v wanted="$3" '{ exit !($1 - $2 >= wanted) }' ||
        az cognitiveservices account list --query "[?tags.\"azd-env-name\"=='${AZURE_ENV_NAME:-}'].name" -o tsv | grep -q . ||
        say "The quota for $1 in $model_location is used up ($3 thousand tokens a minute are wanted): ask for more in the Foundry portal, or lower its capacity."
}
check_model "${REALTIME_MODEL_NAME:-gpt-realtime-2.1}" "${REALTIME_MODEL_VERSION:-2026-07-07}" "${REALTIME_MODEL_CAPACITY:-10}"
check_model "${TRANSCRIPTION_MODEL_NAME:-gpt-4o-mini-transcribe}" "${TRANSCRIPTION_MODEL_VERSION:-2025-12-15}" "${TRANSCRIPTION_MODEL_CAPACITY:-10}"
check_model "${CHAT_MODEL_NAME:-}" "${CHAT_MODEL_VERSION:-}" "${CHAT_MODEL_CAPACITY:-10}"

if [ "$missing" -gt 0 ]; then
    echo "preflight: nothing was made. SKIP_PREFLIGHT=true leaves these checks out." >&2
    exit 1
fi
echo "preflight: nothing is missing"
