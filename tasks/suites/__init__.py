"""One file a suite: each records its tasks with `tasks.registry.task`; a file put here is found by being here."""
