# One spot GPU of AWS with vLLM and a Skein worker: joined by dialling out, ended when it is idle or alone. Skein's own
# provider `aws` (docs/CLOUD.md) makes such machines by itself when there is work; this is for one that you make and end by hand.
#   terraform init && terraform apply -var-file=gpu.tfvars

terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      skein = var.name
    }
  }
}

# NVIDIA driver and container toolkit on Ubuntu, as AWS keeps it
data "aws_ssm_parameter" "image" {
  name = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
}

data "aws_vpc" "default" {
  default = true
}

# Nothing comes in: the worker dials out, and so does Systems Manager, by which a shell is had in need.
resource "aws_security_group" "worker" {
  name_prefix = "${var.name}-"
  description = "Skein worker: no way in"
  vpc_id      = data.aws_vpc.default.id

  egress {
    description      = "images, models, and the mesh"
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_iam_role" "worker" {
  name_prefix = "${var.name}-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "shell" {
  role       = aws_iam_role.worker.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "worker" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.worker.name
}

resource "aws_instance" "worker" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  associate_public_ip_address = true
  vpc_security_group_ids      = [aws_security_group.worker.id]
  iam_instance_profile        = aws_iam_instance_profile.worker.name

  # a machine that powers itself off is gone, and costs nothing more
  instance_initiated_shutdown_behavior = "terminate"
  user_data_replace_on_change          = true

  # what Skein itself tells a machine that it rents
  user_data = templatefile("${path.module}/../cloud-init/user-data.yaml", {
    alone_minutes = var.alone_minutes
    context       = var.context
    invite        = var.invite
    model         = var.model
    name          = var.name
    serves        = var.serves
    skein_image   = var.skein_image
    vllm_image    = var.vllm_image
  })

  instance_market_options {
    market_type = "spot"

    spot_options {
      max_price                      = var.price_per_hour_max
      spot_instance_type             = "one-time"
      instance_interruption_behavior = "terminate"
    }
  }

  # version 2 alone: a server that is talked into asking for a page must not read what is there
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  root_block_device {
    volume_size           = var.disk_gib
    volume_type           = "gp3"
    encrypted             = true
    delete_on_termination = true
  }

  tags = {
    Name = var.name
  }

  lifecycle {
    ignore_changes = [ami]
  }
}

# A machine that hears no coordinator powers itself off, as its user data has it. This is for one that is heard and has nothing
# to do: answers are what it sends. CloudWatch looks from outside, so that a system that hangs ends too. A model that is loaded
# for longer than this ends it as well. CloudWatch ends machines by a role that an account makes once:
#   aws iam create-service-linked-role --aws-service-name events.amazonaws.com
resource "aws_cloudwatch_metric_alarm" "idle" {
  alarm_name          = "${var.name}-idle"
  alarm_description   = "ends the machine when it has sent next to nothing for ${var.idle_minutes} minutes"
  namespace           = "AWS/EC2"
  metric_name         = "NetworkOut"
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = var.idle_bytes
  period              = 300
  evaluation_periods  = ceil(var.idle_minutes / 5)
  datapoints_to_alarm = ceil(var.idle_minutes / 5)
  # before its first minutes are counted a machine is not idle
  treat_missing_data = "notBreaching"
  alarm_actions      = ["arn:aws:automate:${var.region}:ec2:terminate"]

  dimensions = {
    InstanceId = aws_instance.worker.id
  }
}
