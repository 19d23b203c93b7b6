variable "project" {
  description = "Id of an empty project that is linked to a billing account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 small letters, digits and hyphens, such as my-models-1."
  }
}

variable "region" {
  description = "Region of the cluster, the registry and the buckets."
  type        = string
  default     = "europe-west1"
}

variable "name" {
  description = "Name of the cluster, and the beginning of most other names."
  type        = string
  default     = "lading"
}

variable "namespace" {
  description = "Namespace of the releases."
  type        = string
  default     = "serve"
}

variable "releases" {
  description = "Releases of the chart, by name: their ServiceAccounts may read artifacts."
  type        = set(string)
  default     = ["cards"]
}

variable "domain" {
  description = "Domain whose DNS zone is made, without a dot at the end; the endpoint is api.DOMAIN, gRPC is grpc.DOMAIN."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain such as models.example.com, without a dot at the end."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows may push images and deploy."
  type        = string

  validation {
    condition     = can(regex("^[^/]+/[^/]+$", var.github_repository))
    error_message = "OWNER/NAME, as in github.com/OWNER/NAME."
  }
}

variable "billing_account" {
  description = "Id of the billing account, as `gcloud billing accounts list` shows it."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "Three groups of six, such as 0123AB-4567CD-89EF01."
  }
}

variable "budget" {
  description = "What the project may cost a month, in units of the billing account's currency."
  type        = number
  default     = 100
}

variable "alert_email" {
  description = "Who is written to when the budget is half, nearly or wholly spent, and when an alert fires."
  type        = string
}

variable "requests_per_minute" {
  description = "Requests that one address may send in a minute. The load test of a release sends its 20 a second inside the cluster, and does not count."
  type        = number
  default     = 6000
}

variable "deletion_protection" {
  description = "Refuse to delete the cluster. `terraform destroy` needs false, applied first."
  type        = bool
  default     = true
}

variable "cloud_build_trigger" {
  description = "Make Cloud Build's two triggers too. The repository has to be connected to Cloud Build first: docs/gke.md."
  type        = bool
  default     = false
}
