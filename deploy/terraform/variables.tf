variable "region" {
  description = "Of AWS, such as eu-central-1."
  type        = string
}

variable "name" {
  description = "Of the machine, and of its node in the mesh."
  type        = string
  default     = "skein-spot"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "Small letters, digits and dashes, at most 32, a letter first."
  }
}

variable "instance_type" {
  description = "With one NVIDIA GPU, such as g6.xlarge (L4, 24 GiB)."
  type        = string
  default     = "g6.xlarge"
}

variable "price_per_hour_max" {
  description = "In US dollars: beyond it the machine is taken back. The on-demand price bounds it when null."
  type        = string
  default     = null
}

variable "disk_gib" {
  description = "For images and the model."
  type        = number
  default     = 150
}

variable "vllm_image" {
  description = "Of vLLM's OpenAI-compatible server, by digest."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.vllm_image))
    error_message = "By digest (…@sha256:…): what was tried is what runs."
  }
}

variable "skein_image" {
  description = "Of Skein (deploy/docker), by digest."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.skein_image))
    error_message = "By digest (…@sha256:…): what was tried is what runs."
  }
}

variable "model" {
  description = "As vLLM is told of it, such as Qwen/Qwen3-8B."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9/][A-Za-z0-9._/:-]{0,255}$", var.model))
    error_message = "A name of Hugging Face, or a path."
  }
}

variable "context" {
  description = "Tokens that a prompt and its answer may have together: --max-model-len of vLLM."
  type        = number
  default     = 8192
}

variable "serves" {
  description = "Model of the mesh, by alias or digest, that this one stands in for."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$", var.serves))
    error_message = "An alias or a digest of the mesh."
  }
}

variable "invite" {
  description = "What `skein invite --uses 1` printed. It is in the machine's user data and in Terraform's state, and of no use once it is used."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9._:/@=+-]+$", var.invite))
    error_message = "What `skein invite` printed, and nothing else."
  }
}

variable "alone_minutes" {
  description = "The machine powers itself off when its worker has heard no coordinator for so long."
  type        = number
  default     = 15

  validation {
    condition     = var.alone_minutes >= 2 && var.alone_minutes <= 1440
    error_message = "2 to 1440 minutes."
  }
}

variable "idle_minutes" {
  description = "It is ended when it has sent next to nothing for so long; longer than it takes to load the model."
  type        = number
  default     = 30

  validation {
    condition     = var.idle_minutes >= 15 && var.idle_minutes <= 120 && var.idle_minutes % 5 == 0
    error_message = "15 to 120 minutes, in steps of 5."
  }
}

variable "idle_bytes" {
  description = "More than it sends in 5 minutes without an answer, heartbeats alone: see NetworkOut of an idle worker."
  type        = number
  default     = 400000
}
