# Ordering, following and comparing runs; actions as API calls.
api-call = Copy as API call
api-call-hint = Put the box's name in place of BOX and an API token in place of TOKEN; ca.pem is the box's CA.
