# R's httr. Usage: httr.R HTTP GRPC FOLDER
library(httr)

arguments <- commandArgs(trailingOnly = TRUE)
url <- arguments[1]
body <- function(name) readBin(file.path(arguments[3], name), "raw", 1e8)
send <- function(path, name, type) POST(paste0(url, path), body = body(name), content_type(type), timeout(20))
expect <- function(call, answer, status, text) {
  content <- content(answer, "text", encoding = "UTF-8")
  if (status_code(answer) != status || !grepl(text, content, fixed = TRUE)) {
    stop(call, ": ", status_code(answer), " ", content)
  }
  cat("call ", call, "\n", sep = "")
}

cat("version ", as.character(packageVersion("httr")), "\n", sep = "")
expect("ready", GET(paste0(url, "/v2/health/ready")), 200, "")
expect("picture", send("/classify", "photo.jpg", "image/jpeg"), 200, '"red"')
form <- list(note = "text", image = upload_file(file.path(arguments[3], "photo.jpg")))
expect("form", POST(paste0(url, "/classify"), body = form, encode = "multipart"), 200, '"red"')
expect("JSON", send("/predict", "predict.json", "application/json"), 200, '"small-colour"')
expect("v2", send("/v2/models/small-colour/infer", "infer.json", "application/json"), 200, '"id":"7"')
expect("404", send("/v2/models/none/infer", "infer.json", "application/json"), 404, "no model 'none'")
expect("413", send("/classify", "large", "image/jpeg"), 413, "bytes")
