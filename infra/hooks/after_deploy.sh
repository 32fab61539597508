#!/bin/sh
# After a deployment, what can only follow it; each step looks first, so that it may run any number of times:
# the subscription to incoming calls, the realtime service's webhook with its secret in the vault, and
# whether the app is ready. after_deploy.ps1 does the same on Windows.
set -u
umask 077

here=$(cd "$(dirname "$0")" && pwd)
failed=0
tell() { echo "after deploy: $*"; }
complain() {
    echo "after deploy: $*" >&2
    failed=1
}

for name in AZURE_RESOURCE_GROUP FUNCTIONS_NAME FUNCTIONS_URL AZURE_KEY_VAULT_NAME AZURE_OPENAI_ENDPOINT; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || {
        complain "$name: run azd provision first"
        exit 1
    }
done

# --- incoming calls of Communication Services ----------------------------------------------------
if [ -n "${INCOMING_CALLS_TOPIC:-}" ]; then
    if az deployment group create --resource-group "$AZURE_RESOURCE_GROUP" --name incoming-call \
        --template-file "$here/../bicep/incoming-call.bicep" --output none \
        --parameters topicName="$INCOMING_CALLS_TOPIC" functionAppName="$FUNCTIONS_NAME" \
        storageAccountName="$STORAGE_ACCOUNT_NAME"; then
        tell "incoming calls reach the function incoming_call"
    else
        complain "Event Grid could not be told where incoming calls go: run azd hooks run postdeploy again."
    fi
fi

# --- the realtime service's webhook, for calls by SIP --------------------------------------------
secret_name=realtime-webhook-secrets
endpoints="$AZURE_OPENAI_ENDPOINT/openai/v1/dashboard/webhook_endpoints"
webhook="$FUNCTIONS_URL/api/v1/webhooks/realtime"
model() { az rest --resource https://cognitiveservices.azure.com "$@"; }

register_webhook() {
    # Without its secret an endpoint is of no use: the service shows it once, when it is made.
    for old in $(model --method get --url "$endpoints" --query "data[?url=='$webhook'].id" --output tsv); do
        model --method delete --url "$endpoints/$old" --output none || return 1
    done
    secret_file=$(mktemp)
    trap 'rm -f "$secret_file"' EXIT
    model --method post --url "$endpoints" --query signing_secret --output tsv \
        --body "{\"name\": \"sidetone\", \"url\": \"$webhook\", \"event_types\": [\"realtime.call.incoming\"]}" |
        tr -d '\r\n' >"$secret_file"
    [ -s "$secret_file" ] || return 1
    # By file, not as an argument, which every process of the machine could read.
    az keyvault secret set --vault-name "$AZURE_KEY_VAULT_NAME" --name "$secret_name" \
        --file "$secret_file" --encoding utf-8 --output none
}

if [ "${REALTIME_WEBHOOK:-true}" = true ]; then
    if known=$(az keyvault secret list --vault-name "$AZURE_KEY_VAULT_NAME" \
        --query "[?name=='$secret_name'].name" --output tsv); then
        if [ -n "$known" ]; then
            tell "the realtime webhook is registered"
        elif register_webhook; then
            tell "the realtime webhook is registered, and its secret is in the vault"
            # Settings are read at the start.
            az functionapp restart --resource-group "$AZURE_RESOURCE_GROUP" --name "$FUNCTIONS_NAME" --output none ||
                complain "The Functions app could not be restarted: do so, that it reads the webhook's secret."
        else
            complain "The realtime webhook could not be registered, so calls by SIP are not answered: see docs/deploy.md, or azd env set REALTIME_WEBHOOK false."
        fi
    else
        complain "The vault $AZURE_KEY_VAULT_NAME cannot be read from here: deploy from inside of its network, and as somebody with the role Key Vault Secrets Officer."
    fi
fi

# --- is it ready? --------------------------------------------------------------------------------
attempts=${READY_ATTEMPTS:-30}
while :; do
    answer=$(curl --silent --show-error --max-time 20 --write-out '\n%{http_code}' "$FUNCTIONS_URL/api/v1/ready" 2>&1)
    status=$(echo "$answer" | tail -n 1)
    [ "$status" = 200 ] && break
    attempts=$((attempts - 1))
    [ "$attempts" -le 0 ] && break
    # Roles that were just given take some minutes to be known everywhere.
    sleep "${READY_PAUSE_S:-10}"
done
if [ "$status" = 200 ]; then
    tell "ready: $FUNCTIONS_URL"
else
    said=$(echo "$answer" | sed '$d' | tr -d '\n')
    complain "The app is not ready; it says: $said (docs/operations.md tells what each code means)."
fi
exit "$failed"
