"""Every option of every job and grader, as strict models; all defaults live here."""
