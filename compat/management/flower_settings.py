"""What Flower's application is configured with: the queue that its page shows."""

task_default_queue = "flower"
