{{- /* Every template starts with this. It completes .Values in place, by the chart's defaults.json:
- a key that is missing gets its default: `--reuse-values` keeps the values of the older chart, which lack newer keys;
- a name in a list of `{name: NAME}` becomes one of these objects;
- a text that `--set` took for a number or a boolean becomes a text again, with all of its digits;
- a whole number stays one: as a float, Helm would write 1e+06. */ -}}
{{- define "lading.values" -}}
{{- range $path, $value := .Files.Get "defaults.json" | fromJson -}}
{{- $names := splitList "." $path -}}
{{- $at := $.Values -}}
{{- range initial $names -}}
{{- if not (kindIs "map" (index $at .)) -}}{{- $_ := set $at . dict -}}{{- end -}}
{{- $at = index $at . -}}
{{- end -}}
{{- $name := last $names -}}
{{- if has $value.kind (list "objects" "names" "environment") -}}{{- include "lading.objectTexts" (dict "value" (index $at $name) "path" $path) -}}{{- end -}}
{{- if and (kindIs "invalid" (index $at $name)) (not (kindIs "invalid" $value.default)) -}}
{{- $_ := set $at $name $value.default -}}
{{- end -}}
{{- $is := index $at $name -}}
{{- if eq $value.kind "text" -}}
{{- $_ := set $at $name (include "lading.text" (dict "value" $is "path" $path)) -}}
{{- else if kindIs "float64" $is -}}
{{- if eq $is (floor $is) -}}{{- $_ := set $at $name (int64 $is) -}}{{- end -}}
{{- else if and (eq $value.kind "texts") (kindIs "slice" $is) -}}
{{- $texts := list -}}
{{- range $is -}}{{- $texts = append $texts (include "lading.text" (dict "value" . "path" $path)) -}}{{- end -}}
{{- $_ := set $at $name $texts -}}
{{- else if eq $value.kind "texts" -}}
{{- range $key, $one := $is -}}
{{- $_ := set $is $key (include "lading.text" (dict "value" $one "path" (printf "%s.%s" $path $key))) -}}
{{- end -}}
{{- else if eq $value.kind "resources" -}}
{{- range $of := list "requests" "limits" -}}
{{- range $key, $one := (index $is $of | default dict) -}}
{{- $_ := set (index $is $of) $key (include "lading.text" (dict "value" $one "path" $path)) -}}
{{- end -}}
{{- end -}}
{{- else if eq $value.kind "names" -}}
{{- $objects := list -}}
{{- range $is -}}
{{- if not (kindIs "map" .) -}}{{- $objects = append $objects (dict "name" (include "lading.text" (dict "value" . "path" $path))) -}}
{{- else -}}{{- $objects = append $objects . -}}{{- end -}}
{{- end -}}
{{- $_ := set $at $name $objects -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* (dict "value" VALUE "path" PATH): the same for parts of Kubernetes' objects, where these keys hold texts. */ -}}
{{- define "lading.objectTexts" -}}
{{- $path := .path -}}{{- $object := .value -}}
{{- if kindIs "slice" $object -}}
{{- range $object -}}{{- include "lading.objectTexts" (dict "value" . "path" $path) -}}{{- end -}}
{{- else if kindIs "map" $object -}}
{{- range $key, $is := $object -}}
{{- if and (kindIs "map" $is) (has $key (list "matchLabels" "labels" "annotations" "metadata")) -}}
{{- range $name, $one := $is -}}
{{- if or (kindIs "map" $one) (kindIs "slice" $one) -}}{{- include "lading.objectTexts" (dict "value" $one "path" $path) -}}
{{- else if not (kindIs "invalid" $one) -}}{{- $_ := set $is $name (include "lading.text" (dict "value" $one "path" $path)) -}}{{- end -}}
{{- end -}}
{{- else if and (kindIs "slice" $is) (has $key (list "args" "command" "values")) -}}
{{- $texts := list -}}
{{- range $is -}}{{- $texts = append $texts (include "lading.text" (dict "value" . "path" $path)) -}}{{- end -}}
{{- $_ := set $object $key $texts -}}
{{- else if or (kindIs "map" $is) (kindIs "slice" $is) -}}{{- include "lading.objectTexts" (dict "value" $is "path" $path) -}}
{{- else if and (not (kindIs "invalid" $is)) (has $key (list "name" "namespace" "key" "value" "operator" "effect" "secretName" "claimName" "mountPath" "subPath" "image" "sectionName" "prefix" "medium" "sizeLimit" "path" "uri" "digest")) -}}
{{- $_ := set $object $key (include "lading.text" (dict "value" $is "path" $path)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* (dict "value" VALUE "path" PATH): the value as a text. YAML has rounded a whole number of more than 15 digits. */ -}}
{{- define "lading.text" -}}
{{- if and (kindIs "float64" .value) (gt .value 999999999999999.0) -}}
{{- fail (printf "%s=%.0f has too many digits for a number in YAML: write it in quotes" .path .value) -}}
{{- end -}}
{{- include "lading.scalar" .value -}}
{{- end -}}
