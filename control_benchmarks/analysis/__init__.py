"""Claims, figures and pages made from control results."""
