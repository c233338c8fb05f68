"""What just happened, and why: explanations made from the steps themselves."""
