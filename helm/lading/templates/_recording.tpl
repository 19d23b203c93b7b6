{{- /* A setting of the server as a text, empty where it is not set. extraEnv overrides `settings`, as it does in the pod.
(dict "root" . "name" NAME) */ -}}
{{- define "lading.setting" -}}
{{- $found := get .root.Values.settings .name -}}
{{- $variable := printf "LADING_%s" (upper .name) -}}
{{- range .root.Values.extraEnv -}}{{- if eq (toString .name) $variable -}}{{- $found = .value | default "" -}}{{- end -}}{{- end -}}
{{- include "lading.scalar" $found -}}
{{- end -}}

{{- define "lading.isOn" -}}
{{- if has (include "lading.setting" . | lower) (list "true" "1" "yes" "on" "t" "y") -}}true{{- end -}}
{{- end -}}

{{- /* The TCP port of an address with a scheme. */ -}}
{{- define "lading.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{- /* `bucket`, `otlp`, `folder`, or empty without a payload log. */ -}}
{{- define "lading.payloadLog" -}}
{{- $log := include "lading.setting" (dict "root" . "name" "payload_log") -}}
{{- if regexMatch "^(gs|s3|az)://" $log -}}bucket
{{- else if hasPrefix "otlp+" $log -}}otlp
{{- else if $log -}}folder
{{- end -}}
{{- end -}}

{{- define "lading.sendsTelemetry" -}}
{{- if or (include "lading.isOn" (dict "root" . "name" "tracing")) (include "lading.isOn" (dict "root" . "name" "otlp_metrics")) -}}true{{- end -}}
{{- end -}}

{{- /* Where pods send what they record: a map from TCP port to what goes there. Addresses come from the payload log's
setting, from OpenTelemetry's variables, and from those that name another endpoint for a bucket. */ -}}
{{- define "lading.outwardPorts" -}}
{{- $ports := dict -}}
{{- $log := include "lading.payloadLog" . -}}
{{- $telemetry := include "lading.sendsTelemetry" . -}}
{{- $collector := false -}}
{{- range .Values.extraEnv -}}
{{- $address := toString (.value | default "") -}}
{{- if and (contains "ENDPOINT" (toString .name)) (regexMatch "^https?://" $address) -}}
{{- $ofCollector := hasPrefix "OTEL_" .name -}}
{{- if and $ofCollector $telemetry -}}{{- $collector = true -}}{{- $_ := set $ports (include "lading.portOf" $address) "spans and metrics" -}}{{- end -}}
{{- if and (not $ofCollector) (eq $log "bucket") -}}{{- $_ := set $ports (include "lading.portOf" $address) "the payload log" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $telemetry (not $collector) -}}{{- $_ := set $ports "4318" "spans and metrics" -}}{{- end -}}
{{- if eq $log "bucket" -}}{{- $_ := set $ports "443" "the payload log" -}}{{- end -}}
{{- if eq $log "otlp" -}}
{{- $address := include "lading.setting" (dict "root" . "name" "payload_log") | trimPrefix "otlp+" -}}
{{- $_ := set $ports (include "lading.portOf" $address) "the payload log" -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}

{{- /* Refuses what would record nothing. */ -}}
{{- define "lading.checkRecording" -}}
{{- $v := .Values -}}
{{- $log := include "lading.setting" (dict "root" . "name" "payload_log") -}}
{{- $kind := include "lading.payloadLog" . -}}
{{- if and $v.payloadLog.claimName (ne $kind "folder") -}}
{{- fail (printf "payloadLog.claimName=%s has no effect: it is mounted at the folder that settings.payload_log names, such as /payloads" $v.payloadLog.claimName) -}}
{{- end -}}
{{- if and (eq $kind "folder") (not (hasPrefix "/" $log)) -}}
{{- fail (printf "settings.payload_log=%s is a relative path: write a folder, such as /payloads, or a bucket, such as s3://BUCKET/payloads" $log) -}}
{{- end -}}
{{- if and (eq $kind "folder") (not $v.payloadLog.claimName) -}}
{{- $inside := hasPrefix "/tmp/" $log -}}
{{- range $v.extraVolumeMounts -}}{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) (printf "%s/" $log) -}}{{- $inside = true -}}{{- end -}}{{- end -}}
{{- if and (not $inside) $v.securityContext.readOnlyRootFilesystem -}}
{{- fail (printf "settings.payload_log=%s is on the read-only root: name a claim in payloadLog.claimName, a volume in extraVolumes, or a bucket" $log) -}}
{{- end -}}
{{- end -}}
{{- if and (include "lading.sendsTelemetry" .) (not (or $v.extraEnvFrom $v.extraContainers $v.podAnnotations)) -}}
{{- $named := false -}}
{{- range $v.extraEnv -}}{{- if hasPrefix "OTEL_EXPORTER_OTLP" (toString .name) -}}{{- $named = true -}}{{- end -}}{{- end -}}
{{- if not $named -}}
{{- fail "settings.tracing and settings.otlp_metrics send to OTEL_EXPORTER_OTLP_ENDPOINT, and the pod has none: add it to extraEnv, such as {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: \"http://collector.monitoring.svc:4318\"}" -}}
{{- end -}}
{{- end -}}
{{- end -}}
