// The image that a container app runs now: provisioning again must not put the first one back.

param appName string

resource app 'Microsoft.App/containerApps@2025-07-01' existing = {
  name: appName
}

output image string = app.properties.template.containers[0].image
