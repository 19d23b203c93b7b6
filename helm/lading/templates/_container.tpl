{{- /* The server's environment: the chart's variables, then extraEnv, where a name that is there already is replaced.
The same name twice is an error to the API server. */ -}}
{{- define "lading.env" -}}
{{- $env := dict
  "LADING_HTTP_HOST" (dict "name" "LADING_HTTP_HOST" "value" "0.0.0.0")
  "LADING_HTTP_PORT" (dict "name" "LADING_HTTP_PORT" "value" "8080")
  "LADING_GRPC_PORT" (dict "name" "LADING_GRPC_PORT" "value" "9000")
    "HOME" (dict "name" "HOME" "value" "/tmp")
  "BENTOML_HOME" (dict "name" "BENTOML_HOME" "value" "/tmp/bentoml")
  "BENTOML_DO_NOT_TRACK" (dict "name" "BENTOML_DO_NOT_TRACK" "value" "true")
  "ORT_DISABLE_TELEMETRY" (dict "name" "ORT_DISABLE_TELEMETRY" "value" "1")
-}}
{{- with include "lading.artifactPaths" . -}}{{- $_ := set $env "LADING_ARTIFACT" (dict "name" "LADING_ARTIFACT" "value" .) -}}{{- end -}}
{{- with include "lading.modelsPath" . -}}{{- $_ := set $env "LADING_MODELS" (dict "name" "LADING_MODELS" "value" .) -}}{{- end -}}
{{- if .Values.artifact.digest -}}
{{- $_ := set $env "LADING_DIGEST" (dict "name" "LADING_DIGEST" "value" .Values.artifact.digest) -}}
{{- end -}}
{{- with include "lading.trustedKeysPath" . -}}{{- $_ := set $env "LADING_TRUSTED_KEYS" (dict "name" "LADING_TRUSTED_KEYS" "value" .) -}}{{- end -}}
{{- if .Values.auth.existingSecret -}}
{{- $_ := set $env "LADING_API_KEYS" (dict "name" "LADING_API_KEYS" "value" (printf "/etc/lading/keys/%s" .Values.auth.key)) -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $env "LADING_TLS_CERTIFICATE" (dict "name" "LADING_TLS_CERTIFICATE" "value" "/etc/lading/tls/tls.crt") -}}
{{- $_ := set $env "LADING_TLS_KEY" (dict "name" "LADING_TLS_KEY" "value" "/etc/lading/tls/tls.key") -}}
{{- end -}}
{{- if not (include "lading.hasPods" .) -}}
{{- range $name, $value := include "lading.settings" . | fromYaml -}}{{- $_ := set $env $name (dict "name" $name "value" $value) -}}{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}{{- $_ := set $env .name . -}}{{- end -}}
{{- $list := list -}}
{{- range $name := keys $env | sortAlpha -}}{{- $list = append $list (get $env $name) -}}{{- end -}}
{{- toYaml $list -}}
{{- end -}}

{{- define "lading.command" -}}
{{- /* BentoML opens its port itself, so it gets the certificate as arguments. The server's ports read settings. */ -}}
{{- $bento := list "--port" "3000" -}}
{{- if .Values.tls.existingSecret -}}
{{- $bento = concat $bento (list "--ssl-certfile" "/etc/lading/tls/tls.crt" "--ssl-keyfile" "/etc/lading/tls/tls.key") -}}
{{- end -}}
{{- if eq .Values.image.kind "bento" }}
args: {{ concat (list "bentoml" "serve" "/home/bentoml/bento") $bento | toJson }}
{{- else if .Values.bento.enabled }}
command: {{ concat (list "python" "-m" "bentoml" "serve" "service:Lading" "--working-dir" "/app") $bento | toJson }}
{{- else }}
command: [python, -m, lading, serve]
{{- end }}
{{- end -}}

{{- define "lading.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port | default "http" }}{{- if .root.Values.tls.existingSecret }}, scheme: HTTPS{{- end }}}
{{ toYaml .numbers }}
{{- end -}}

{{- /* The sleep action came with Kubernetes 1.30; before that, sleep in the container does the same. */ -}}
{{- define "lading.preStop" -}}
{{- $form := .Values.shutdown.preStop -}}
{{- if eq $form "auto" -}}
{{- $form = ternary "native" "exec" (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and (ne $form "none") (gt (int .Values.shutdown.preStopSeconds) 0) }}
lifecycle:
  preStop:
    {{- if eq $form "native" }}
    sleep: {seconds: {{ int .Values.shutdown.preStopSeconds }}}
    {{- else }}
    exec: {command: [sleep, "{{ int .Values.shutdown.preStopSeconds }}"]}
    {{- end }}
{{- end }}
{{- end -}}

{{- /* The server's container. (dict "root" . "name" NAME "ports" YAML "httpPort" NAME-OR-NUMBER) */ -}}
{{- define "lading.container" -}}
{{- $root := .root -}}
name: {{ .name }}
image: {{ include "lading.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- include "lading.command" $root }}
env: {{- include "lading.env" $root | nindent 2 }}
{{- include "lading.envFrom" $root }}
ports: {{- .ports | nindent 2 }}
startupProbe: {{- include "lading.probe" (dict "root" $root "port" .httpPort "path" "/readyz" "numbers" $root.Values.probes.startup) | nindent 2 }}
readinessProbe: {{- include "lading.probe" (dict "root" $root "port" .httpPort "path" "/readyz" "numbers" $root.Values.probes.readiness) | nindent 2 }}
livenessProbe: {{- include "lading.probe" (dict "root" $root "port" .httpPort "path" "/livez" "numbers" $root.Values.probes.liveness) | nindent 2 }}
{{- include "lading.preStop" $root }}
resources: {{- toYaml $root.Values.resources | nindent 2 }}
# Lanes follow a changed CPU limit, so a resized pod needs no restart.
resizePolicy:
  - {resourceName: cpu, restartPolicy: NotRequired}
securityContext: {{- toYaml $root.Values.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- include "lading.artifactMount" $root | indent 2 }}
  {{- include "lading.trustedKeysMount" $root | indent 2 }}
  {{- include "lading.secretMounts" $root | indent 2 }}
  {{- if $root.Values.payloadLog.claimName }}
  - {name: payloads, mountPath: {{ include "lading.setting" (dict "root" $root "name" "payload_log") | quote }}}
  {{- end }}
  {{- with $root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "lading.containerPorts" -}}
- {name: http, containerPort: 8080}
- {name: grpc, containerPort: 9000}
{{- if .Values.bento.enabled }}
- {name: bento, containerPort: 3000}
{{- end }}
{{- end -}}

{{- /* KServe reads the protocol from the port's name. */ -}}
{{- define "lading.httpPortName" -}}
{{- ternary "http1" "http" (eq .Values.mode "kserve") -}}
{{- end -}}

{{- define "lading.kservePorts" -}}
- {name: http1, containerPort: 8080, protocol: TCP}
- {name: h2c, containerPort: 9000, protocol: TCP}
{{- if .Values.bento.enabled }}
- {name: bento, containerPort: 3000, protocol: TCP}
{{- end }}
{{- end -}}

{{- /* A runtime belongs to the whole cluster and finds no ConfigMap, so its settings are in lading.env. */ -}}
{{- define "lading.envFrom" -}}
{{- if or (include "lading.hasPods" .) .Values.extraEnvFrom }}
envFrom:
  {{- if include "lading.hasPods" . }}
  - configMapRef: {name: {{ include "lading.fullname" . }}}
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "lading.secretMounts" -}}
{{- if .Values.auth.existingSecret }}
- {name: keys, mountPath: /etc/lading/keys, readOnly: true}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/lading/tls, readOnly: true}
{{- end }}
{{- end -}}
