"""Other tools' own formats, accepted as they are: their settings become our policy, their words our plan.

`srt_settings` reads and judges a settings file of sandbox-runtime; `srt` turns it into a Plan and runs it.
Nothing here decides what a boundary is made of: that is the planner's and the backend's business. What a format
asks for and ringfence does not have is refused by name, or met with something stricter that is said.
"""
