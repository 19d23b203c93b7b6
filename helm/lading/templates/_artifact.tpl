{{- /* Where the server finds the artifact. KServe puts that of a runtime at /mnt/models. */ -}}
{{- define "lading.artifactPath" -}}
{{- if not (include "lading.hasPods" .) -}}/mnt/models
{{- else -}}
{{- with .Values.artifact -}}
{{- if eq .source "fetch" -}}/artifacts/served
{{- else if eq .source "volume" -}}{{ printf "/artifacts/%s" (trimPrefix "/" .path) | trimSuffix "/" }}
{{- else -}}{{ .path | default (ternary "/home/bentoml/bento/src/artifact" "/app/artifact" (eq $.Values.image.kind "bento")) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lading.artifactVolumes" -}}
{{- if eq .Values.artifact.source "fetch" }}
- name: artifact
  emptyDir: {sizeLimit: {{ .Values.artifact.sizeLimit }}}
{{- else if eq .Values.artifact.source "volume" }}
- name: artifact
  persistentVolumeClaim: {claimName: {{ .Values.artifact.claimName }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "lading.artifactMount" -}}
{{- if ne .Values.artifact.source "image" }}
- {name: artifact, mountPath: /artifacts, readOnly: true}
{{- end }}
{{- end -}}

{{- /* Copies the artifact, and ends with an error unless it has the digest. */ -}}
{{- define "lading.fetchContainer" -}}
{{- if eq .Values.artifact.source "fetch" }}
- name: fetch
  image: {{ include "lading.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [python, -m, lading, fetch]
  args: [{{ .Values.artifact.uri | quote }}, --digest, {{ .Values.artifact.digest | quote }}, --out, {{ include "lading.artifactPath" . }}]
  env:
    - {name: HOME, value: /tmp}
    - {name: ORT_DISABLE_TELEMETRY, value: "1"}
  {{- with .Values.artifact.credentialsSecret }}
  envFrom:
    - secretRef: {name: {{ . }}}
  {{- end }}
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext: {{- toYaml .Values.securityContext | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: artifact, mountPath: /artifacts}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}
