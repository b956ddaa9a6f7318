# Pedir, acompanhar e comparar execuções; ações como chamadas da API.
api-call = Copiar como chamada da API
api-call-hint = Ponha o nome do equipamento no lugar de BOX e um token da API no lugar de TOKEN; ca.pem é a CA do equipamento.
