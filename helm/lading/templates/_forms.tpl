{{- /* The forms that values.yaml names in `# @schema {form: ...}`. */ -}}
{{- define "lading.forms" -}}
size: {pattern: '^([0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[0-9]{7,})$', wants: "a size with a unit, such as 256Mi"}
cpu: {pattern: '^([0-9]{1,3}(\.[0-9]{1,3})?|[0-9]+m)$', wants: "a number of CPUs, such as 2 or 0.5, or thousandths, such as 500m"}
count: {pattern: '^[0-9]+$', wants: "a whole number"}
amount: {pattern: '^[0-9]+%?$', wants: "a number of pods, such as 1, or a share, such as 25%"}
decimal: {pattern: '^[0-9]+(\.[0-9]+)?$', wants: "a number, such as 1 or 0.7"}
duration: {pattern: '^[1-9][0-9]*(ms|s|m|h)$', wants: "a time with a unit, such as 15s"}
name: {pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$', longest: 253, wants: "a name of Kubernetes: lower-case letters, digits, - and ., starting and ending with a letter or digit"}
object: {pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', longest: 53, wants: "a name of Kubernetes: at most 53 lower-case letters, digits and -, starting and ending with a letter or digit"}
file: {pattern: '^[-._a-zA-Z0-9]+$', longest: 253, wants: "the name of a key in a Secret: letters, digits, -, _ and ."}
host: {pattern: '^(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z]([-a-z0-9]*[a-z0-9])?$', longest: 253, wants: "a host name in lower-case letters, without scheme, port and path, such as cards.example.com (no IP address)"}
route: {pattern: '^/[^ ?#]*$', wants: "a path prefix, such as /v2"}
schedule: {pattern: '^(@(hourly|daily|weekly|monthly|yearly)|([-0-9*/,A-Za-z?]+ +){4}[-0-9*/,A-Za-z?]+)$', wants: "a schedule of cron with five fields, such as 0 6 * * *"}
address: {pattern: '^https?://[^ /]+(/[^ ]*)?$', wants: "an address with scheme, such as http://prometheus.monitoring.svc:9090"}
repository: {pattern: '^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$', wants: "an image in lower-case letters, without scheme, tag and digest, such as registry.example.com/cards"}
tag: {pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', longest: 128, wants: "a tag: at most 128 letters, digits, _, . and -"}
image: {pattern: '^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$', wants: "an image without scheme, such as registry.example.com/load:1"}
key: {pattern: '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$', wants: "a key: at most 63 letters, digits, -, _ and ., after a domain and / where it has one"}
label: {pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$', longest: 63, wants: "the value of a label: at most 63 letters, digits, -, _ and ., starting and ending with a letter or digit"}
series: {pattern: '^[a-zA-Z_][a-zA-Z0-9_]*$', wants: "a label of Prometheus: letters, digits and _"}
variable: {pattern: '^[-._a-zA-Z][-._a-zA-Z0-9]*$', wants: "the name of an environment variable: letters, digits, _, - and ."}
{{- end -}}

{{- /* (dict "form" FORM "value" TEXT "path" PATH): refuses a text that does not have the form. */ -}}
{{- define "lading.checkForm" -}}
{{- $form := index (include "lading.forms" . | fromYaml) .form -}}
{{- if or (not (regexMatch $form.pattern .value)) (gt (len .value) (int ($form.longest | default 4096))) -}}
{{- fail (printf "%s=%s is not valid: write %s" .path (trunc 80 .value) $form.wants) -}}
{{- end -}}
{{- end -}}

{{- /* Refuses a text that does not have the form of its value. The API server would, or nothing would. */ -}}
{{- define "lading.checkForms" -}}
{{- range $path, $value := .Files.Get "defaults.json" | fromJson -}}
{{- $is := $.Values -}}
{{- range splitList "." $path -}}{{- $is = index $is . -}}{{- end -}}
{{- if and (eq $value.kind "texts") (kindIs "map" $is) -}}
{{- range $key, $one := $is -}}
{{- include "lading.checkForm" (dict "form" (ternary "series" "key" (eq $value.form "series")) "value" $key "path" (printf "the key of %s" $path)) -}}
{{- if eq $value.form "label" -}}{{- include "lading.checkForm" (dict "form" "label" "value" $one "path" (printf "%s.%s" $path $key)) -}}{{- end -}}
{{- end -}}
{{- else if kindIs "slice" $is -}}
{{- if $value.form -}}{{- range $is -}}{{- include "lading.checkForm" (dict "form" $value.form "value" . "path" $path) -}}{{- end -}}{{- end -}}
{{- else if and $value.form (ne (toString $is) "") -}}
{{- include "lading.checkForm" (dict "form" $value.form "value" (toString $is) "path" $path) -}}
{{- else if eq $value.kind "resources" -}}{{- include "lading.checkResources" (dict "resources" $is "path" $path) -}}
{{- end -}}
{{- if eq $value.kind "names" -}}
{{- range $is -}}{{- include "lading.checkForm" (dict "form" "name" "value" .name "path" $path) -}}{{- end -}}
{{- end -}}
{{- if eq $value.kind "environment" -}}
{{- range $is -}}
{{- include "lading.checkForm" (dict "form" "variable" "value" (toString .name) "path" (printf "a name of %s" $path)) -}}
{{- if and .valueFrom (hasKey . "value") -}}{{- fail (printf "%s: %s has both value and valueFrom: keep one" $path .name) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lading.checkResources" -}}
{{- $path := .path -}}{{- $resources := .resources -}}
{{- range $of := list "limits" "requests" -}}
{{- $amounts := index $resources $of -}}
{{- range $key, $amount := ($amounts | default dict) -}}
{{- $form := get (dict "memory" "size" "ephemeral-storage" "size" "cpu" "cpu") $key | default (ternary "size" "count" (hasPrefix "hugepages-" $key)) -}}
{{- $at := printf "%s.%s.%s" $path $of $key -}}
{{- include "lading.checkForm" (dict "form" $form "value" $amount "path" $at) -}}
{{- $number := include "lading.quantity" $amount | float64 -}}
{{- if and (eq $of "limits") (le $number 0.0) (ne $form "count") -}}{{- fail (printf "%s=%s leaves the container nothing" $at $amount) -}}{{- end -}}
{{- if and (eq $key "memory") (lt $number 16777216.0) -}}{{- fail (printf "%s=%s is too little for any container of this chart: write 16Mi or more" $at $amount) -}}{{- end -}}
{{- $limit := index ($resources.limits | default dict) $key -}}
{{- if and (eq $of "requests") $limit -}}
{{- include "lading.checkForm" (dict "form" $form "value" $limit "path" (printf "%s.limits.%s" $path $key)) -}}
{{- if gt $number (include "lading.quantity" $limit | float64) -}}{{- fail (printf "%s=%s is more than %s.limits.%s=%s" $at $amount $path $key $limit) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lading.quantity" -}}
{{- $units := dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]+$" .) | default 1.0) -}}
{{- end -}}
