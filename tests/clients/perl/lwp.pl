# Perl's LWP. Usage: lwp.pl HTTP GRPC FOLDER
use strict;
use warnings;
use LWP::UserAgent;

my ($url, undef, $folder) = @ARGV;
my $agent = LWP::UserAgent->new(timeout => 20, keep_alive => 1);
my @json = ("Content-Type" => "application/json");
$| = 1;

sub body {
    my ($file) = @_;
    open my $handle, "<:raw", "$folder/$file" or die $!;
    local $/;
    return scalar <$handle>;
}

sub expect {
    my ($call, $answer, $status, $text) = @_;
    my $content = $answer->decoded_content // "";
    die "$call: " . $answer->status_line . " $content\n" if $answer->code != $status || index($content, $text) < 0;
    print "call $call\n";
}

print "version $LWP::UserAgent::VERSION\n";
expect("ready", $agent->get("$url/v2/health/ready"), 200, "");
expect("picture", $agent->post("$url/classify", "Content-Type" => "image/jpeg", Content => body("photo.jpg")), 200, '"red"');
my @form = (note => "a text field", image => ["$folder/photo.jpg"]);
expect("form", $agent->post("$url/classify", "Content-Type" => "form-data", Content => \@form), 200, '"red"');
expect("JSON", $agent->post("$url/predict", @json, Content => body("predict.json")), 200, '"small-colour"');
expect("v2", $agent->post("$url/v2/models/small-colour/infer", @json, Content => body("infer.json")), 200, '"id":"7"');
expect("404", $agent->post("$url/v2/models/none/infer", @json, Content => body("infer.json")), 404, "no model 'none'");
expect("413", $agent->post("$url/classify", "Content-Type" => "image/jpeg", Content => body("large")), 413, "bytes");
