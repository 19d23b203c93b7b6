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

{{- /* A path in the image, or in the volume. (dict "root" . "path" PATH) */ -}}
{{- define "lading.pathOf" -}}
{{- if eq .root.Values.artifact.source "volume" -}}{{ printf "/artifacts/%s" (trimPrefix "/" .path) | trimSuffix "/." | trimSuffix "/" }}
{{- else -}}{{ .path }}{{- end -}}
{{- end -}}

{{- /* The folder whose subfolders are served, or nothing. */ -}}
{{- define "lading.modelsPath" -}}
{{- with .Values.artifact.models -}}{{- include "lading.pathOf" (dict "root" $ "path" .) -}}{{- end -}}
{{- end -}}

{{- /* Every artifact that is named by itself, as LADING_ARTIFACT has them: the first answers /predict and /classify. */ -}}
{{- define "lading.artifactPaths" -}}
{{- $paths := list -}}
{{- if or .Values.artifact.path (not .Values.artifact.models) -}}{{- $paths = list (include "lading.artifactPath" .) -}}{{- end -}}
{{- range $number, $one := .Values.artifact.more -}}
{{- $paths = append $paths (ternary (printf "/artifacts/more-%d" (add1 $number)) (include "lading.pathOf" (dict "root" $ "path" ($one.path | default ""))) (eq $.Values.artifact.source "fetch")) -}}
{{- end -}}
{{- join ":" $paths -}}
{{- end -}}

{{- define "lading.artifactVolumes" -}}
{{- if eq .Values.artifact.source "fetch" }}
- name: artifact
  emptyDir: {sizeLimit: {{ .Values.artifact.sizeLimit | quote }}}
{{- else if eq .Values.artifact.source "volume" }}
- name: artifact
  persistentVolumeClaim: {claimName: {{ .Values.artifact.claimName | quote }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "lading.artifactMount" -}}
{{- if ne .Values.artifact.source "image" }}
- {name: artifact, mountPath: /artifacts, readOnly: true}
{{- end }}
{{- end -}}

{{- /* Where the keys are that must have signed the artifacts, or nothing. */ -}}
{{- define "lading.trustedKeysPath" -}}
{{- with .Values.artifact.trustedKeys -}}{{- if or .configMap .secret -}}/etc/lading/trusted-keys{{- end -}}{{- end -}}
{{- end -}}

{{- define "lading.trustedKeysVolume" -}}
{{- with .Values.artifact.trustedKeys -}}
{{- if .configMap }}
- name: trusted-keys
  configMap: {name: {{ .configMap | quote }}}
{{- else if .secret }}
- name: trusted-keys
  secret: {secretName: {{ .secret | quote }}}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "lading.trustedKeysMount" -}}
{{- with include "lading.trustedKeysPath" . }}
- {name: trusted-keys, mountPath: {{ . }}, readOnly: true}
{{- end }}
{{- end -}}

{{- /* Copies each artifact, and ends with an error unless it has its digest. (dict "root" . "resources" RESOURCES) */ -}}
{{- define "lading.fetchContainer" -}}
{{- $resources := .resources -}}{{- $root := .root -}}
{{- if eq $root.Values.artifact.source "fetch" -}}
{{- $first := dict "uri" $root.Values.artifact.uri "digest" $root.Values.artifact.digest -}}
{{- range $number, $one := prepend $root.Values.artifact.more $first }}
- name: {{ ternary "fetch" (printf "fetch-%d" $number) (eq $number 0) }}
  image: {{ include "lading.image" $root | quote }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: [python, -m, lading, fetch]
  args: [{{ $one.uri | quote }}, --digest, {{ $one.digest | quote }}, --out, {{ ternary (include "lading.artifactPath" $root) (printf "/artifacts/more-%d" $number) (eq $number 0) | quote }}]
  env:
    - {name: HOME, value: /tmp}
    - {name: ORT_DISABLE_TELEMETRY, value: "1"}
    {{- with include "lading.trustedKeysPath" $root }}
    - {name: LADING_TRUSTED_KEYS, value: {{ . }}}
    {{- end }}
  {{- with $root.Values.artifact.credentialsSecret }}
  envFrom:
    - secretRef: {name: {{ . | quote }}}
  {{- end }}
  resources: {{- toYaml $resources | nindent 4 }}
  securityContext: {{- toYaml $root.Values.securityContext | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: artifact, mountPath: /artifacts}
    - {name: tmp, mountPath: /tmp}
    {{- include "lading.trustedKeysMount" $root | indent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Refuses artifacts that would not be served, or not be verified. */ -}}
{{- define "lading.checkArtifacts" -}}
{{- $artifact := .Values.artifact -}}
{{- if and (eq $artifact.source "fetch") $artifact.models -}}
{{- fail "artifact.models is read with artifact.source=image and volume, and it is fetch: name each artifact in artifact.more" -}}
{{- end -}}
{{- if and $artifact.models $artifact.digest (not $artifact.path) -}}
{{- fail "artifact.digest is the digest of the artifact at artifact.path, and with artifact.models alone there is none: set artifact.path, or leave the digest empty" -}}
{{- end -}}
{{- if and $artifact.trustedKeys.configMap $artifact.trustedKeys.secret -}}
{{- fail "artifact.trustedKeys.configMap and artifact.trustedKeys.secret are both set: put all keys into one of them" -}}
{{- end -}}
{{- if and (not (include "lading.hasPods" .)) (or $artifact.models $artifact.more) -}}
{{- fail (printf "artifact.more and artifact.models have no effect with kserve.kind=%s: it serves what each InferenceService names" .Values.kserve.kind) -}}
{{- end -}}
{{- $known := list (include "lading.artifactPath" .) -}}
{{- range $number, $one := $artifact.more -}}
{{- if eq $artifact.source "fetch" -}}
{{- if not (regexMatch "^(gs|s3|az|https|http|oci)://.+" ($one.uri | default "")) -}}{{- fail (printf "artifact.more[%d].uri=%s is not valid: with artifact.source=fetch write an address, such as gs://bucket/molecules" $number (toString $one.uri)) -}}{{- end -}}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" ($one.digest | default "")) -}}{{- fail (printf "artifact.more[%d].digest=%s is not valid: with artifact.source=fetch write sha256: and 64 digits, as `lading inspect` shows it" $number (toString $one.digest)) -}}{{- end -}}
{{- if $one.path -}}{{- fail (printf "artifact.more[%d].path has no effect with artifact.source=fetch: the folder is the one of uri" $number) -}}{{- end -}}
{{- else -}}
{{- if or $one.uri $one.digest -}}{{- fail (printf "artifact.more[%d]: uri and digest are read with artifact.source=fetch alone, and it is %s: write path" $number $artifact.source) -}}{{- end -}}
{{- if not $one.path -}}{{- fail (printf "artifact.more[%d].path is empty: write the artifact's path in the %s" $number $artifact.source) -}}{{- end -}}
{{- if contains ":" $one.path -}}{{- fail (printf "artifact.more[%d].path=%s has a colon, which separates paths: rename the folder" $number $one.path) -}}{{- end -}}
{{- $path := include "lading.pathOf" (dict "root" $ "path" $one.path) -}}
{{- if has $path $known -}}{{- fail (printf "artifact.more[%d].path=%s is served already: name each artifact once" $number $one.path) -}}{{- end -}}
{{- $known = append $known $path -}}
{{- end -}}
{{- end -}}
{{- end -}}
