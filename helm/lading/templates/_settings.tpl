{{- /* Numbers of values files are floats to Helm; 50000000 must not become 5e+07. */ -}}
{{- define "lading.scalar" -}}
{{- if kindIs "float64" . -}}{{- if eq . (floor .) -}}{{ printf "%.0f" . }}{{- else -}}{{ . }}{{- end -}}
{{- else if kindIs "slice" . -}}
{{- $parts := list -}}{{- range . -}}{{- $parts = append $parts (include "lading.scalar" .) -}}{{- end -}}{{ join "," $parts }}
{{- else if kindIs "map" . -}}
{{- $parts := list -}}{{- range $name, $part := . -}}{{- $parts = append $parts (printf "%s=%v" $name $part) -}}{{- end -}}{{ join "," $parts }}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- /* The ConfigMap's data: every setting as its environment variable. */ -}}
{{- define "lading.settings" -}}
{{- range $name, $value := .Values.settings }}
LADING_{{ upper $name }}: {{ include "lading.scalar" $value | quote }}
{{- end }}
{{- if and .Values.drift.enabled (not (hasKey .Values.settings "drift")) }}
LADING_DRIFT: "false"
{{- end }}
{{- end -}}

{{- /* nginx accepts 1 MiB by default, and answers in HTML. Other controllers ignore these, and have no such limit. */ -}}
{{- define "lading.bodySize" -}}
{{- $bytes := mulf (get .Values.settings "max_body_mb" | default 16 | float64) 1000000 | printf "%.0f" | quote -}}
nginx.ingress.kubernetes.io/proxy-body-size: {{ $bytes }}
nginx.org/client-max-body-size: {{ $bytes }}
{{- end -}}

{{- /* Controllers that do not read the Service's appProtocol speak HTTP to the pods, unless they are told. */ -}}
{{- define "lading.backendProtocol" -}}
{{- if .Values.tls.existingSecret }}
nginx.ingress.kubernetes.io/backend-protocol: HTTPS
nginx.org/ssl-services: {{ include "lading.serviceName" . }}
haproxy.org/server-ssl: "true"
alb.ingress.kubernetes.io/backend-protocol: HTTPS
{{- end }}
{{- end -}}

{{- /* Traefik reads it from the Service. */ -}}
{{- define "lading.serviceAnnotations" -}}
{{- if and .Values.tls.existingSecret .Values.ingress.enabled }}
traefik.ingress.kubernetes.io/service.serversscheme: https
{{- end }}
{{- end -}}

{{- define "lading.drainSeconds" -}}
{{- include "lading.scalar" (get .Values.settings "drain_s" | default 30) -}}
{{- end -}}

{{- define "lading.preStopSeconds" -}}
{{- ternary 0 (int .Values.shutdown.preStopSeconds) (eq .Values.shutdown.preStop "none") -}}
{{- end -}}

{{- /* The clock of the grace period starts with preStop, so both have to fit in. */ -}}
{{- define "lading.leastGracePeriod" -}}
{{- add (include "lading.preStopSeconds" . | int) (include "lading.drainSeconds" . | int) 10 -}}
{{- end -}}

{{- define "lading.gracePeriod" -}}
{{- .Values.shutdown.gracePeriodSeconds | default (include "lading.leastGracePeriod" .) -}}
{{- end -}}

{{- /* A duration such as 10s, as Gateway API writes it, from the deadline in milliseconds. */ -}}
{{- define "lading.deadlineMs" -}}
{{- include "lading.scalar" (get .Values.settings "deadline_ms" | default 2000) -}}
{{- end -}}
