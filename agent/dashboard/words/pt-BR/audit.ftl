# A cadeia de auditoria.
audit-title = Auditoria
audit-number = Nº
audit-when = Quando
audit-actor = Quem
audit-source = De
audit-action = O quê
audit-action-hint = Como começa, por exemplo “settings”.
audit-target = Em quê
audit-outcome = Resultado
audit-detail = Detalhe
audit-show = Mostrar
audit-before = Antes do registro nº
audit-before-wrong = Isto não é o número de um registro. Números são inteiros e começam em 1.
audit-none = Nenhum registro cabe neste filtro.
audit-verify = Verificar a cadeia
audit-export = Exportar (assinado)
audit-intact =
    { $entries ->
        [one] Um registro foi examinado: a cadeia está íntegra e a assinatura é boa.
       *[other] { $entries } registros foram examinados: a cadeia está íntegra e todas as assinaturas são boas.
    }
audit-broken =
    { $entries ->
        [one] A cadeia está quebrada depois de um registro bom. Exporte e compare com uma exportação anterior.
       *[other] A cadeia está quebrada depois de { $entries } registros bons. Exporte e compare com uma exportação anterior.
    }
