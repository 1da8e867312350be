"""Online learning to rank as the field simulates it: click models on judged queries. [Oosterhuis & de Rijke 2018, §5]"""
