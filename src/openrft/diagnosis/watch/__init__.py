"""What goes wrong while a job trains, told once when it begins, with rollouts to look at. Pure.

answers    rollouts as the rules see them, condensed to a few metrics per step, so that a long run stays small
history    the run so far: its first steps, its latest ones, its evaluations
decline    whether validation has fallen, or the best pass was only lucky
alarm      what is told: a sentence, what to do, and where to look
watch      goes through a run step by step; every rule is quiet, raised, or over
rules/     one file per rule; ``RULES`` is the table of contents

All of it follows from what a run records, so a resumed run tells what an uninterrupted one would have told.
"""
