<?php
// PHP's stream wrapper (file_get_contents), or its curl extension. Usage: calls.php stream|curl HTTP GRPC FOLDER
[, $name, $url, , $folder] = $argv;
$read = fn (string $file): string => file_get_contents("$folder/$file");
$type = ["content-type: application/json"];

$stream = function (string $address, ?string $body, array $headers): array {
    $options = ["method" => $body === null ? "GET" : "POST", "ignore_errors" => true, "timeout" => 20];
    $options += $body === null ? [] : ["content" => $body, "header" => $headers];
    $answer = file_get_contents($address, false, stream_context_create(["http" => $options]));
    return [(int) explode(" ", $http_response_header[0])[1], $answer];
};
$handle = $name === "curl" ? curl_init() : null;
$curl = function (string $address, string|array|null $body, array $headers) use ($handle): array {
    curl_reset($handle);
    curl_setopt_array($handle, [CURLOPT_URL => $address, CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 20]);
    if ($body !== null) {
        curl_setopt_array($handle, [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $headers]);
    }
    $answer = curl_exec($handle);
    return [curl_getinfo($handle, CURLINFO_RESPONSE_CODE), $answer === false ? curl_error($handle) : $answer];
};
$expect = function (string $call, array $answer, int $status, string $text): void {
    if ($answer[0] !== $status || !str_contains($answer[1], $text)) {
        fwrite(STDERR, "$call: $answer[0] $answer[1]\n");
        exit(1);
    }
    echo "call $call\n";
};

$send = $name === "curl" ? $curl : $stream;
echo "version ", PHP_VERSION, "\n";
$expect("ready", $send("$url/v2/health/ready", null, []), 200, "");
$expect("picture", $send("$url/classify", $read("photo.jpg"), ["content-type: image/jpeg"]), 200, '"red"');
if ($name === "curl") {
    $form = ["note" => "a text field", "image" => new CURLFile("$folder/photo.jpg")];
    $expect("form", $send("$url/classify", $form, []), 200, '"red"');
}
$expect("JSON", $send("$url/predict", $read("predict.json"), $type), 200, '"small-colour"');
$expect("v2", $send("$url/v2/models/small-colour/infer", $read("infer.json"), $type), 200, '"id":"7"');
$expect("404", $send("$url/v2/models/none/infer", $read("infer.json"), $type), 404, "no model 'none'");
$expect("413", $send("$url/classify", $read("large"), ["content-type: image/jpeg"]), 413, "bytes");
