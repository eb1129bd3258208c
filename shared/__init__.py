"""What both sides need: the configuration model, rules, the table, control messages, sockets and logs."""
