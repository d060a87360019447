"""The portfolio market: prices, accounts, costs and rewards, batched on tensors."""
