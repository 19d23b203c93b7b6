"""Why a release does not serve: what Helm and Kubernetes say about it, and the cause that this stands for."""
