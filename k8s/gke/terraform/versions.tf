terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The bucket is made once by hand: docs/gke.md.
  backend "gcs" {
    prefix = "lading"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # Budgets belong to a billing account, and are asked for on behalf of this project.
  billing_project       = var.project
  user_project_override = true

  default_labels = {
    app = "lading"
  }
}
