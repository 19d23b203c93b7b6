# Ruby's net/http. Usage: net_http.rb HTTP GRPC FOLDER
require "net/http"
require "stringio"

url, _, folder = ARGV
address = URI(url)
read = ->(file) { File.binread(File.join(folder, file)) }
json = { "content-type" => "application/json" }
expect = lambda do |call, answer, status, text|
  abort "#{call}: #{answer.code} #{answer.body}" unless answer.code == status.to_s && answer.body.include?(text)
  puts "call #{call}"
end

puts "version #{RUBY_VERSION}"
Net::HTTP.start(address.host, address.port, read_timeout: 20) do |http|
  expect.call("ready", http.get("/v2/health/ready"), 200, "")
  expect.call("picture", http.post("/classify", read["photo.jpg"], { "content-type" => "image/jpeg" }), 200, '"red"')
  form = Net::HTTP::Post.new("/classify")
  form.set_form([%w[note text], ["image", read["photo.jpg"], { filename: "photo.jpg" }]], "multipart/form-data")
  expect.call("form", http.request(form), 200, '"red"')
  expect.call("JSON", http.post("/predict", read["predict.json"], json), 200, '"small-colour"')
  expect.call("v2", http.post("/v2/models/small-colour/infer", read["infer.json"], json), 200, '"id":"7"')
  streamed = Net::HTTP::Post.new("/v2/models/small-colour/infer", json.merge("transfer-encoding" => "chunked"))
  streamed.body_stream = StringIO.new(read["infer.json"])
  expect.call("v2 in chunks", http.request(streamed), 200, '"id":"7"')
  expect.call("404", http.post("/v2/models/none/infer", read["infer.json"], json), 404, "no model 'none'")
end
Net::HTTP.start(address.host, address.port, read_timeout: 20) do |http|
  expect.call("413", http.post("/classify", read["large"], { "content-type" => "image/jpeg" }), 413, "bytes")
end
