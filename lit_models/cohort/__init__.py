"""A cohort: many trials of one architecture, trained side by side as one."""
