"""What each arm takes and costs: seconds, tokens, memory and money, and when which arm is worth it."""
