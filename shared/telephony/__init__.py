"""Phone calls: who may call whom, which agent answers, and the carriers that bring the calls."""
