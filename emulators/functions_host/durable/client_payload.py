"""URLs of the management API, and the value of a durable client input binding.

Source: the extension's `BindingHelper.cs` and `HttpApiHandler.cs`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlencode

WEBHOOK_PATH = "/runtime/webhooks/durabletask"
RPC_PATH = "/durabletask"
CONNECTION = "Storage"


@dataclass(frozen=True, kw_only=True)
class ManagementUrls:
    """Builds the URLs that the extension hands out."""

    hub_name: str
    system_key: str | None
    """The `durabletask_extension` key, None when keys are not checked."""

    def query(self) -> str:
        key = {"code": self.system_key} if self.system_key else {}
        return urlencode({"taskHub": self.hub_name, "connection": CONNECTION, **key})

    def of_instance(self, origin: str, instance_id: str) -> dict[str, str]:
        """Return the links of an instance, by the names that every Durable client knows."""
        instance = f"{origin}{WEBHOOK_PATH}/instances/{instance_id}"
        query = self.query()
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{instance}?{query}",
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{instance}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{instance}?{query}",
            "restartPostUri": f"{instance}/restart?{query}",
            "suspendPostUri": f"{instance}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{instance}/resume?reason={{text}}&{query}",
        }

    def client_payload(self, origin: str, rpc_base_url: str) -> str:
        """Return what a durable client input receives, as JSON text."""
        create = f"{origin}{WEBHOOK_PATH}/orchestrators/{{functionName}}[/{{instanceId}}]"
        query = self.query()
        return json.dumps(
            {
                "taskHubName": self.hub_name,
                "connectionName": CONNECTION,
                "creationUrls": {
                    "createNewInstancePostUri": f"{create}?{query}",
                    "createAndWaitOnNewInstancePostUri": (
                        f"{create}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&{query}"
                    ),
                },
                "managementUrls": self.of_instance(origin, "INSTANCEID"),
                "baseUrl": f"{origin}{WEBHOOK_PATH}",
                "requiredQueryStringParameters": f"code={self.system_key}" if self.system_key else "",
                "rpcBaseUrl": rpc_base_url,
                "httpBaseUrl": None,
            }
        )
