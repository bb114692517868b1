"""What runs within the agent's reach: the first process of a sandbox and what it needs.

Standard library only; nothing here imports from the rest of ringfence, because this folder is bound
read-only into the view and executed there by whatever Python the view has. It is told what to do through a
descriptor and trusts only that descriptor. It must never hold a secret: everything it knows may one day
be read by the command it starts.
"""
