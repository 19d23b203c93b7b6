{{- define "lading.driftSelector" -}}
app.kubernetes.io/name: lading
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: drift
{{- end -}}

{{- /* True where another image than the server's runs, and the artifact is inside the server's. */ -}}
{{- define "lading.driftCopiesArtifact" -}}
{{- if and .Values.drift.image (eq .Values.artifact.source "image") -}}true{{- end -}}
{{- end -}}

{{- define "lading.driftArtifact" -}}
{{- if include "lading.driftCopiesArtifact" . -}}/artifacts/served{{- else -}}{{- include "lading.artifactPath" . -}}{{- end -}}
{{- end -}}

{{- /* The server's variables hold the credentials of a bucket. A name that is there twice is an error to the API server. */ -}}
{{- define "lading.driftEnv" -}}
{{- $env := dict -}}
{{- range $name, $value := dict "HOME" "/tmp" "ORT_DISABLE_TELEMETRY" "1" "DO_NOT_TRACK" "1" -}}
{{- $_ := set $env $name (dict "name" $name "value" $value) -}}
{{- end -}}
{{- with include "lading.trustedKeysPath" . -}}
{{- $_ := set $env "LADING_TRUSTED_KEYS" (dict "name" "LADING_TRUSTED_KEYS" "value" .) -}}
{{- end -}}
{{- range .Values.extraEnv -}}{{- $_ := set $env .name . -}}{{- end -}}
{{- $list := list -}}
{{- range $name := keys $env | sortAlpha -}}{{- $list = append $list (get $env $name) -}}{{- end -}}
{{- toYaml $list -}}
{{- end -}}

{{- /* A pod that reads the payload log next to the artifact. (dict "root" . "container" YAML "restart" POLICY) */ -}}
{{- define "lading.driftPodSpec" -}}
{{- $root := .root -}}
{{- with .root -}}
restartPolicy: {{ $.restart }}
# The server's account, because its identity may open the bucket.
serviceAccountName: {{ include "lading.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "lading.placement" . }}
{{- if include "lading.driftCopiesArtifact" . }}
initContainers:
  - name: artifact
    image: {{ include "lading.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [python, -c, "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"]
    args: [{{ include "lading.artifactPath" . | quote }}, {{ include "lading.driftArtifact" . | quote }}]
    resources: {{- toYaml .Values.drift.resources | nindent 6 }}
    securityContext: {{- toYaml .Values.securityContext | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: artifact, mountPath: /artifacts}
      - {name: tmp, mountPath: /tmp}
{{- else if eq .Values.artifact.source "fetch" }}
initContainers:
  {{- include "lading.fetchContainer" (dict "root" . "resources" .Values.drift.resources) | indent 2 }}
{{- end }}
containers:
  - {{ $.container | indent 4 | trim }}
    image: {{ .Values.drift.image | default (include "lading.image" .) | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    env: {{- include "lading.driftEnv" . | nindent 6 }}
    {{- with .Values.extraEnvFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    resources: {{- toYaml .Values.drift.resources | nindent 6 }}
    securityContext: {{- toYaml .Values.securityContext | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- if or (ne .Values.artifact.source "image") (include "lading.driftCopiesArtifact" .) }}
      - {name: artifact, mountPath: /artifacts, readOnly: true}
      {{- end }}
      {{- include "lading.trustedKeysMount" . | indent 6 }}
      {{- if .Values.payloadLog.claimName }}
      - {name: payloads, mountPath: {{ include "lading.setting" (dict "root" . "name" "payload_log") | quote }}, readOnly: true}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: {{ .Values.tmpSizeLimit | quote }}}
  {{- if include "lading.driftCopiesArtifact" . }}
  - name: artifact
    emptyDir: {sizeLimit: {{ .Values.artifact.sizeLimit | quote }}}
  {{- else }}
  {{- include "lading.artifactVolumes" . | indent 2 }}
  {{- end }}
  {{- include "lading.trustedKeysVolume" . | indent 2 }}
  {{- with .Values.payloadLog.claimName }}
  - name: payloads
    persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "lading.driftServer" -}}
name: drift
command: [python, -m, lading, drift, serve]
args:
  - {{ include "lading.setting" (dict "root" . "name" "payload_log") | quote }}
  - {{ include "lading.driftArtifact" . | quote }}
  - --host=0.0.0.0
  - --port=8090
  - {{ printf "--window=%d" (int .Values.drift.window) | quote }}
  - {{ printf "--every=%v" .Values.drift.everySeconds | quote }}
ports:
  - {name: http, containerPort: 8090}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: http}
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /livez, port: http}
  timeoutSeconds: 10
  failureThreshold: 6
{{- end -}}

{{- define "lading.driftCheck" -}}
name: check
command: [python, -m, lading, drift, check]
args:
  - {{ include "lading.setting" (dict "root" . "name" "payload_log") | quote }}
  - {{ include "lading.driftArtifact" . | quote }}
  - {{ printf "--newest=%d" (int .Values.drift.window) | quote }}
{{- end -}}

{{- /* Refuses what has no log to read. */ -}}
{{- define "lading.checkDrift" -}}
{{- $wanted := "" -}}
{{- if .Values.drift.enabled -}}{{- $wanted = "drift.enabled" -}}
{{- else if .Values.drift.checkSchedule -}}{{- $wanted = "drift.checkSchedule" -}}{{- end -}}
{{- if $wanted -}}
{{- $kind := include "lading.payloadLog" . -}}
{{- if not $kind -}}
{{- fail (printf "%s reads the payload log of all pods, and settings.payload_log is not set: name a bucket, such as s3://BUCKET/payloads, or a folder on payloadLog.claimName" $wanted) -}}
{{- end -}}
{{- if eq $kind "otlp" -}}
{{- fail (printf "%s cannot read back what settings.payload_log sends to a collector: name a bucket, or a folder on payloadLog.claimName" $wanted) -}}
{{- end -}}
{{- if and (eq $kind "folder") (not .Values.payloadLog.claimName) -}}
{{- fail (printf "%s reads a folder from payloadLog.claimName, a claim that all pods share: name it, or a bucket in settings.payload_log" $wanted) -}}
{{- end -}}
{{- if not (include "lading.hasPods" .) -}}
{{- fail (printf "%s has no artifact to compare with: kserve.kind=%s makes no pods" $wanted .Values.kserve.kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
