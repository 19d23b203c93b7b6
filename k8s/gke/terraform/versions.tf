terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # Create the bucket once by hand: docs/gke.md.
  backend "gcs" {
    prefix = "lading"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # Budgets belong to a billing account; their API calls are made on behalf of this project.
  billing_project       = var.project
  user_project_override = true

  default_labels = {
    app = "lading"
  }
}
