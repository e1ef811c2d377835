output "instance_id" {
  description = "For a shell: aws ssm start-session --target ID"
  value       = aws_instance.worker.id
}

output "node" {
  description = "As `skein nodes` shows it."
  value       = var.name
}
