# The audit chain.
audit-title = Audit
audit-number = No.
audit-when = When
audit-actor = Who
audit-source = From
audit-action = What
audit-action-hint = How it begins, for example “settings”.
audit-target = On what
audit-outcome = Outcome
audit-detail = Detail
audit-show = Show
audit-before = Before entry No.
audit-before-wrong = This is no number of an entry. Numbers are whole and begin with 1.
audit-none = No entry fits this filter.
audit-verify = Verify the chain
audit-export = Export (signed)
audit-intact =
    { $entries ->
        [one] One entry was looked at: the chain is intact, and its signature is good.
       *[other] { $entries } entries were looked at: the chain is intact, and every signature is good.
    }
audit-broken =
    { $entries ->
        [one] The chain is broken after one good entry. Take an export and compare it with an earlier one.
       *[other] The chain is broken after { $entries } good entries. Take an export and compare it with an earlier one.
    }
